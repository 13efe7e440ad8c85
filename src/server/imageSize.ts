import { SrdsError } from '../errors.js';
import { fixedSizeFor } from '../model/fixedShapes.js';
import type { ModelFolder } from '../model/modelFolder.js';
import { settingsOf, type GenerateOptions, type Settings } from '../pipeline/options.js';
import { ApiError } from './apiError.js';

/** The default limit, in areas of the model's own size. Memory grows faster than the area. */
const DEFAULT_AREAS = 4;

/**
 * The pixels of the largest image that a request may ask for.
 * @param maxPixels the configured limit
 */
export function pixelLimit({ size }: ModelFolder, maxPixels: number | undefined): number {
  return maxPixels ?? DEFAULT_AREAS * size.width * size.height;
}

/**
 * Checks options against the model and the limit on pixels.
 * @throws ApiError 400; SrdsError as settingsOf does
 */
export function checkSize(options: GenerateOptions, model: ModelFolder, maxPixels: number | undefined): void {
  const { width, height } = checkedSettings(options, model);
  const limit = pixelLimit(model, maxPixels);
  if (width * height <= limit) return;
  throw new ApiError(
    400,
    'invalid_size',
    `expected at most ${limit} pixels, found ${width}x${height}; ask for a smaller image`,
    'size',
  );
}

/** The settings of a request. A solver that the model does not support is the client's mistake, hence a 400. */
function checkedSettings(options: GenerateOptions, model: ModelFolder): Settings {
  try {
    return settingsOf(options, model);
  } catch (error) {
    if (!(error instanceof SrdsError)) throw error;
    if (isOfSize(error, options, model)) throw new ApiError(400, 'invalid_size', error.message, 'size');
    const { solver } = options;
    if (solver === undefined || error.code !== 'MODEL_INVALID') throw error;
    const message = `expected a solver that ${model.name} supports, found ${solver}; omit it or name another`;
    throw new ApiError(400, 'invalid_parameter', message, 'solver');
  }
}

/** Whether options are refused because of their size: without it there is no error, or another one. */
function isOfSize(error: SrdsError, options: GenerateOptions, model: ModelFolder): boolean {
  if (options.width === undefined && options.height === undefined) return false;
  try {
    settingsOf({ ...options, width: undefined, height: undefined }, model);
    return true;
  } catch (other) {
    return !(other instanceof SrdsError) || other.message !== error.message;
  }
}

/**
 * Options with a size for an initial image that is too large: about the area of the model's own size, in the image's proportions. An
 * explicit size stays as it is.
 */
export function fitToLimit(
  options: GenerateOptions,
  model: ModelFolder,
  maxPixels: number | undefined,
): GenerateOptions {
  const { init, width, height } = options;
  if (!init || width !== undefined || height !== undefined) return options;
  const fixed = fixedSizeFor(model, true);
  if (fixed.width !== undefined || fixed.height !== undefined) return options;
  if (init.width * init.height <= pixelLimit(model, maxPixels)) return options;
  const scale = Math.sqrt((model.size.width * model.size.height) / (init.width * init.height));
  const { sizeStep } = model;
  const side = (length: number) => Math.max(sizeStep, Math.round((length * scale) / sizeStep) * sizeStep);
  return { ...options, width: side(init.width), height: side(init.height) };
}
