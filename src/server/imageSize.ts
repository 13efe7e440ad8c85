import type { ImageSize } from '../model/family.js';
import { fixedSizeFor } from '../model/fixedShapes.js';
import type { ModelFolder } from '../model/modelFolder.js';
import { maxSideOf, type GenerateOptions } from '../pipeline/options.js';
import { ApiError } from './apiError.js';
import type { Concession } from './concession.js';
import { isDrawable, nearestSize, type DrawableSizes } from './nearestSize.js';

/** The default limit, in areas of the model's own size. Memory grows faster than the area. */
const DEFAULT_AREAS = 4;

/**
 * The pixels of the largest image that a request may ask for.
 * @param maxPixels the configured limit
 */
export function pixelLimit({ size }: ModelFolder, maxPixels: number | undefined): number {
  return maxPixels ?? DEFAULT_AREAS * size.width * size.height;
}

/** Options whose size can be drawn, and what of the request was changed for that. */
export interface FittedOptions {
  readonly options: GenerateOptions;
  readonly changed: readonly Concession[];
}

/**
 * Options with the nearest size that the model can draw within the limit on pixels. Most clients ask for 1024x1024 unless told otherwise.
 * An initial image that is too large gives about the area of the model's own size.
 * @throws ApiError 400 if there is no such size
 */
export function fitSize(options: GenerateOptions, model: ModelFolder, maxPixels: number | undefined): FittedOptions {
  const { init, width, height } = options;
  const sizes = drawableSizes(options, model, maxPixels);
  const isGiven = width !== undefined || height !== undefined;
  if (init && !isGiven) return { options: { ...options, ...sizeFor(init, model, sizes) }, changed: [] };
  const { fixed } = sizes;
  const size = {
    width: width ?? fixed.width ?? init?.width ?? model.size.width,
    height: height ?? fixed.height ?? init?.height ?? model.size.height,
  };
  if (isDrawable(size, sizes)) return { options, changed: [] };
  const asked = `${size.width}x${size.height}`;
  const nearest = nearestTo(size, model, sizes);
  const warning = `${inWords(sizes, model)}: ${nearest.width}x${nearest.height} in place of ${asked}`;
  return {
    options: { ...options, ...nearest },
    changed: isGiven ? [{ param: 'size', warning, code: 'invalid_size' }] : [],
  };
}

/** The size for an initial image, if it is not the image's own, rounded down. */
function sizeFor(init: ImageSize, model: ModelFolder, sizes: DrawableSizes): ImageSize | undefined {
  const { step, maxSide, maxPixels, fixed } = sizes;
  if (fixed.width !== undefined || fixed.height !== undefined) return undefined;
  const [short, long] = [init.width, init.height].sort((a, b) => a - b);
  if (init.width * init.height <= maxPixels && short >= step && long <= maxSide) return undefined;
  const scale = Math.sqrt((model.size.width * model.size.height) / (init.width * init.height));
  return nearestTo({ width: init.width * scale, height: init.height * scale }, model, sizes);
}

/** @throws ApiError 400 */
function nearestTo(size: ImageSize, model: ModelFolder, sizes: DrawableSizes): ImageSize {
  const nearest = size.width > 0 && size.height > 0 ? nearestSize(size, sizes) : undefined;
  if (nearest) return nearest;
  const found = `${Math.round(size.width)}x${Math.round(size.height)}`;
  throw new ApiError(
    400,
    'invalid_size',
    `expected a size in pixels, found ${found}; choose one: ${inWords(sizes, model)}`,
    'size',
  );
}

function drawableSizes({ init }: GenerateOptions, model: ModelFolder, maxPixels: number | undefined): DrawableSizes {
  return {
    step: model.sizeStep,
    maxSide: maxSideOf(model),
    maxPixels: pixelLimit(model, maxPixels),
    fixed: fixedSizeFor(model, init !== undefined),
  };
}

function inWords({ step, maxPixels, fixed }: DrawableSizes, { name, size }: ModelFolder): string {
  const own = `${size.width}x${size.height}`;
  return fixed.width !== undefined || fixed.height !== undefined
    ? `the graphs of ${name} fix its size, ${own}`
    : `${name}, a model of ${own}, draws multiples of ${step} pixels, at most ${maxPixels} in all (--max-pixels)`;
}
