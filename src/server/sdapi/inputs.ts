import { readImage, readTransparency, type GreyImage } from '../../image/image.js';
import { binaryMask, repaintsAnything } from '../../image/mask.js';
import type { GenerateOptions } from '../../pipeline/options.js';
import { ApiError } from '../apiError.js';
import { checkImageFormats, decodedImage, MAX_INPUT_PIXELS } from '../imageInput.js';

/** The images of a request. */
export interface GivenImages {
  readonly image: Buffer;
  readonly mask?: Buffer | undefined;
  /** Whether the dark pixels of the mask are repainted instead. */
  readonly invert: boolean;
}

/** A file in base64, as a data URL or plain. @throws ApiError 400 if it is not one of an accepted format */
export function fileFrom(text: string, param: 'image' | 'mask'): Buffer {
  const file = Buffer.from(text.replace(/^data:[^,]*,/, ''), 'base64');
  checkImageFormats(param === 'mask' ? { mask: file } : { image: file });
  return file;
}

/**
 * Decodes an initial image and its mask: its white pixels are repainted, or its opaque ones if it has transparent ones.
 * Source: create_binary_mask of AUTOMATIC1111's stable-diffusion-webui.
 * @throws ApiError 400
 */
export async function decodeInputs({
  image,
  mask,
  invert,
}: GivenImages): Promise<Pick<GenerateOptions, 'init' | 'mask'>> {
  const init = await decodedImage(image, 'image', readImage);
  if (!mask) return { init };
  const repainted = await repaintedPixels(mask, invert);
  if (repaintsAnything(repainted)) return { init, mask: repainted };
  const message = `expected a mask with ${invert ? 'black' : 'white'} pixels where to repaint, found none; paint them or invert it`;
  throw new ApiError(400, 'invalid_image', message, 'mask');
}

async function repaintedPixels(file: Buffer, invert: boolean): Promise<GreyImage> {
  const transparency = await decodedImage(file, 'mask', readTransparency);
  const { width, height } = transparency;
  const opacity = { width, height, data: transparency.data.map((grey) => 255 - grey) };
  const isOpaque = opacity.data.every((grey) => grey === 255);
  const white = await binaryMask(isOpaque ? await readImage(file, MAX_INPUT_PIXELS) : opacity, width, height);
  return { width, height, data: white.map((pixel) => ((pixel === 1) === invert ? 0 : 255)) };
}
