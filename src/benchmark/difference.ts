import type { RgbImage } from '../image/image.js';
import { maxAbsoluteDifference, meanAbsoluteDifference } from '../tensor/operations.js';

/** Absolute difference of two 8-bit images, in grey levels. */
export interface Difference {
  readonly mean: number;
  readonly max: number;
}

/** Compares two images of the same size. */
export function differenceOf(a: RgbImage, b: RgbImage): Difference {
  return { mean: meanAbsoluteDifference(a.data, b.data), max: maxAbsoluteDifference(a.data, b.data) };
}

const PATCH = 8;

/** Largest mean absolute difference of a patch of 8x8 pixels of two images of the same size, in grey levels. */
export function worstPatch(a: RgbImage, b: RgbImage): number {
  let worst = 0;
  for (let top = 0; top + PATCH <= a.height; top += PATCH) {
    for (let left = 0; left + PATCH <= a.width; left += PATCH) {
      let sum = 0;
      for (let y = top; y < top + PATCH; y++) {
        const row = 3 * (y * a.width + left);
        for (let k = row; k < row + 3 * PATCH; k++) sum += Math.abs(a.data[k] - b.data[k]);
      }
      worst = Math.max(worst, sum / (3 * PATCH * PATCH));
    }
  }
  return worst;
}
