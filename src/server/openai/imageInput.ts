import { readImage, type RgbImage } from '../../image/image.js';
import { ApiError } from '../apiError.js';

/** More pixels than cameras have; larger images are not decoded. */
const MAX_INPUT_PIXELS = 25e6;
const SIGNATURES = [/^\x89PNG\r\n/, /^\xff\xd8\xff/, /^RIFF....WEBP/s];

/**
 * Checks the format of an uploaded image. The decoder knows more formats, but their parsers are not safe for untrusted files.
 * @throws ApiError 400
 */
export function checkImageFormat(image: Uint8Array): void {
  const head = Buffer.from(image.subarray(0, 12)).toString('latin1');
  if (SIGNATURES.some((signature) => signature.test(head))) return;
  const message = 'expected a PNG, JPEG or WebP image, found another format; convert it';
  throw new ApiError(400, 'invalid_image', message, 'image');
}

/** Decodes an uploaded image. @throws ApiError 400 */
export async function decodeImage(image: Uint8Array): Promise<RgbImage> {
  try {
    return await readImage(image, MAX_INPUT_PIXELS);
  } catch {
    const limit = MAX_INPUT_PIXELS / 1e6;
    const message = `expected a complete image of at most ${limit} megapixels, found a damaged or larger one; send another`;
    throw new ApiError(400, 'invalid_image', message, 'image');
  }
}
