import { readImage, readTransparency, type GreyImage, type RgbImage } from '../image/image.js';
import { repaintsAnything } from '../image/mask.js';
import type { GenerateOptions } from '../pipeline/options.js';
import { ApiError } from './apiError.js';

/** More pixels than cameras have; larger images are not decoded. */
export const MAX_INPUT_PIXELS = 25e6;
const SIGNATURES = [/^\x89PNG\r\n/, /^\xff\xd8\xff/, /^RIFF....WEBP/s];

/** The files of a request. */
interface ImageFiles {
  readonly image: Uint8Array;
  readonly mask?: Uint8Array | undefined;
}

/**
 * Checks the formats of uploaded images. The decoder knows more formats, but their parsers are not safe for untrusted files.
 * @throws ApiError 400
 */
export function checkImageFormats({ image, mask }: Partial<ImageFiles>): void {
  if (image) checkFormat(image, 'image');
  if (mask) checkFormat(mask, 'mask');
}

function checkFormat(image: Uint8Array, param: keyof ImageFiles): void {
  const head = Buffer.from(image.subarray(0, 12)).toString('latin1');
  if (SIGNATURES.some((signature) => signature.test(head))) return;
  const message = 'expected a PNG, JPEG or WebP image, found another format; convert it';
  throw new ApiError(400, 'invalid_image', message, param);
}

/**
 * Decodes an uploaded image, and what of it to repaint: the transparent pixels of the mask, or of the image itself if it has any.
 * @throws ApiError 400
 */
export async function decodeImages({ image, mask }: ImageFiles): Promise<Pick<GenerateOptions, 'init' | 'mask'>> {
  const init = await decodedImage<RgbImage>(image, 'image', readImage);
  const free = await decodedImage<GreyImage>(mask ?? image, mask ? 'mask' : 'image', readTransparency);
  if (repaintsAnything(free)) return { init, mask: free };
  if (!mask) return { init };
  const message = 'expected a mask with transparent pixels where to repaint, found none; erase that part of it';
  throw new ApiError(400, 'invalid_image', message, 'mask');
}

/** @throws ApiError 400 if the file is damaged or too large */
export async function decodedImage<Image>(
  file: Uint8Array,
  param: keyof ImageFiles,
  read: (source: Uint8Array, maxPixels: number) => Promise<Image>,
): Promise<Image> {
  try {
    return await read(file, MAX_INPUT_PIXELS);
  } catch {
    const limit = MAX_INPUT_PIXELS / 1e6;
    const message = `expected a complete image of at most ${limit} megapixels, found a damaged or larger one; send another`;
    throw new ApiError(400, 'invalid_image', message, param);
  }
}
