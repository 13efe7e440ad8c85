import type { ImageSize } from '../model/family.js';
import type { FixedSize } from '../model/fixedShapes.js';

/** The sizes that a server draws with a model. */
export interface DrawableSizes {
  /** What both sides are multiples of, in pixels. */
  readonly step: number;
  /** Longest side in pixels. */
  readonly maxSide: number;
  /** Largest area in pixels. */
  readonly maxPixels: number;
  /** Sides that the graphs of the model fix. */
  readonly fixed: FixedSize;
}

/** Whether an image has one of the sizes. */
export function isDrawable({ width, height }: ImageSize, { step, maxSide, maxPixels, fixed }: DrawableSizes): boolean {
  const isSide = (side: number, only: number | undefined) =>
    only === undefined ? side % step === 0 && side >= step && side <= maxSide : side === only;
  return isSide(width, fixed.width) && isSide(height, fixed.height) && width * height <= maxPixels;
}

/** Weight of other proportions beside another area. */
const PROPORTION_WEIGHT = 16;

/**
 * The size nearest to a given one: about the same proportions, and as large as is allowed if the given one is too large.
 * @param size sides above 0
 * @returns undefined if not even the smallest image is allowed
 */
export function nearestSize(size: ImageSize, sizes: DrawableSizes): ImageSize | undefined {
  const { step, maxSide, maxPixels, fixed } = sizes;
  const scale = scaleOf(size, sizes);
  const ideal = { width: size.width * scale, height: size.height * scale };
  const multiple = (side: number, largest: number) =>
    Math.max(step, Math.min(Math.floor(largest / step), Math.round(side / step)) * step);
  /** Sides around an ideal one. */
  const around = (side: number, only: number | undefined) =>
    only !== undefined
      ? [only]
      : [Math.floor(side / step), Math.ceil(side / step)].map((count) => multiple(count * step, maxSide));
  /** The best other side for a side. */
  const other = (side: number, beside: number, only: number | undefined) =>
    only ?? multiple(side, Math.min(maxSide, maxPixels / beside));
  const widths = around(ideal.width, fixed.width);
  const heights = around(ideal.height, fixed.height);
  const candidates = [
    ...widths.flatMap((width) =>
      [...heights, other(ideal.height, width, fixed.height)].map((height) => ({ width, height })),
    ),
    ...heights.map((height) => ({ width: other(ideal.width, height, fixed.width), height })),
  ].filter((candidate) => isDrawable(candidate, sizes));
  const distance = (candidate: ImageSize) => {
    const [width, height] = [Math.log(candidate.width / ideal.width), Math.log(candidate.height / ideal.height)];
    return PROPORTION_WEIGHT * (width - height) ** 2 + (width + height) ** 2;
  };
  return candidates.sort((a, b) => distance(a) - distance(b)).at(0);
}

/** The factor from a size to the size of the same proportions that is nearest, regardless of multiples. */
function scaleOf({ width, height }: ImageSize, { maxSide, maxPixels, fixed }: DrawableSizes): number {
  if (fixed.width !== undefined) return fixed.width / width;
  if (fixed.height !== undefined) return fixed.height / height;
  return Math.min(1, Math.sqrt(maxPixels / (width * height)), maxSide / Math.max(width, height));
}
