import { meanAbsoluteDifference } from '../tensor/operations.js';
import type { RgbImage } from '../image/image.js';

/** Grey levels that the image changes by, per unit of mean absolute change of the latents (`npm run bench:stopping`). */
const GREY_PER_LATENT = { least: 15, usual: 36 };

/**
 * The residual of an iteration in grey levels: the mean absolute change of the 8-bit image. Where the change of the latents
 * alone says that it is above the tolerance, images are not decoded and the residual is an estimate; a decision to stop is
 * always the image's.
 * @param tolerance in grey levels
 * @param imageOf decodes latents, each once
 * @param always whether images are decoded anyway
 */
export function stoppingMeasure(
  tolerance: number,
  imageOf: (latents: Float32Array) => Promise<RgbImage>,
  always: boolean,
): (now: Float32Array, before: Float32Array) => Promise<number> {
  return async (now, before) => {
    const change = meanAbsoluteDifference(now, before);
    if (!always && GREY_PER_LATENT.least * change >= tolerance) return GREY_PER_LATENT.usual * change;
    const [a, b] = await Promise.all([imageOf(now), imageOf(before)]);
    return meanAbsoluteDifference(a.data, b.data);
  };
}
