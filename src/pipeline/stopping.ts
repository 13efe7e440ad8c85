import type { Residual } from '../run/events.js';
import { meanAbsoluteDifference } from '../tensor/operations.js';
import type { RgbImage } from '../image/image.js';

/** Change of the image in grey levels per unit of mean absolute change of the latents (`npm run bench:stopping`). */
const GREY_PER_LATENT = { least: 15, typical: 36 };

/**
 * The residual of an iteration in grey levels: the mean absolute change of the 8-bit image. If the change of the latents alone
 * shows that it is above the tolerance, nothing is decoded and the residual is an estimate. A decision to stop is always based on
 * decoded images.
 * @param tolerance in grey levels
 * @param decode decodes latents, each once
 * @param always whether all iterates are decoded anyway
 */
export function imageResidual(
  tolerance: number,
  decode: (latents: Float32Array) => Promise<RgbImage>,
  always: boolean,
): Residual {
  return async (now, before) => {
    const change = meanAbsoluteDifference(now, before);
    if (!always && GREY_PER_LATENT.least * change >= tolerance) return GREY_PER_LATENT.typical * change;
    const [a, b] = await Promise.all([decode(now), decode(before)]);
    return meanAbsoluteDifference(a.data, b.data);
  };
}
