import type { RgbImage } from '../image/image.js';
import { nextChange, type Residual } from '../run/residual.js';
import { meanAbsoluteDifference } from '../tensor/operations.js';
import type { Stopping } from './options/generation.js';

/**
 * The residual of an iteration in grey levels. `look-ahead`: the predicted change of the image in the next iteration, from the
 * latents alone. `change`: the mean absolute change of the decoded 8-bit image in the last iteration, the rule of SRDS (arXiv
 * 2412.08292, algorithm 1).
 * @param greyLevels mean absolute change of an image for a change of its latents of root mean square 1
 * @param decode decodes latents, each once
 * @param repainted share of the image that changes, 0 to 1, to which the residual refers
 * @param share that the change is of the residual
 */
export function residualOf(
  stopping: Stopping,
  greyLevels: number,
  decode: (latents: Float32Array) => Promise<RgbImage>,
  repainted: number,
  share = 1,
): Residual {
  // A root mean square over all latents, and a mean over all pixels.
  if (stopping === 'look-ahead') {
    return (now, before) => (greyLevels * nextChange(now, before)) / Math.sqrt(repainted) / share;
  }
  return async (now, before) => {
    const [a, b] = await Promise.all([decode(now.x), decode(before.x)]);
    return meanAbsoluteDifference(a.data, b.data) / repainted / share;
  };
}
