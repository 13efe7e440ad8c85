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
