import { access, constants, stat } from 'node:fs/promises';
import type { Sharp } from 'sharp';
import { fileRemedy, messageOf, SrdsError } from '../errors.js';
import { codec } from './codec.js';
import { lanczos } from './lanczos.js';

/** An 8-bit colour image, [height, width, 3]. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** An 8-bit grey image, [height, width]. */
export interface GreyImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/**
 * Converts a VAE decoder's output to an 8-bit image: round(255 clamp(x / 2 + 1/2, 0, 1)), each operation in float32.
 * Source: diffusers VaeImageProcessor.postprocess.
 * @param decoded [3, height, width], -1 to 1
 * @throws RangeError if `decoded` has another size
 */
export function toRgb(decoded: Float32Array, width: number, height: number): RgbImage {
  const plane = width * height;
  if (decoded.length !== 3 * plane)
    throw new RangeError(`${decoded.length} values do not fill a ${width}x${height} image`);
  // Uint8ClampedArray clamps and rounds halves to even, as numpy does, three times as fast as Math.
  const data = new Uint8ClampedArray(3 * plane);
  for (let channel = 0; channel < 3; channel++) {
    for (let k = 0; k < plane; k++) {
      data[k * 3 + channel] = Math.fround(255 * Math.fround(decoded[channel * plane + k] / 2 + 0.5));
    }
  }
  return { width, height, data: new Uint8Array(data.buffer) };
}

/**
 * Converts an image to a VAE encoder's input. Source: diffusers VaeImageProcessor.preprocess.
 * @returns [3, height, width], -1 to 1
 */
export function toValues({ width, height, data }: RgbImage): Float32Array {
  const plane = width * height;
  return Float32Array.from({ length: 3 * plane }, (_, i) => {
    const value = Math.fround(data[(i % plane) * 3 + Math.floor(i / plane)] / 255);
    return 2 * value - 1;
  });
}

/** sharp's default limit. */
const MAX_PIXELS = 0x3fff ** 2;

/**
 * Reads an image in a format of sharp: PNG, JPEG, WebP, AVIF, GIF, TIFF or SVG. Applies the EXIF orientation and drops
 * transparency.
 * @param source path or content of the file
 * @param maxPixels largest number of pixels
 * @throws SrdsError INVALID_OPTION if the file is missing, not an image or too large
 * @example
 * const { width, height, data } = await readImage('photo.jpg');
 */
export async function readImage(source: string | Uint8Array, maxPixels = MAX_PIXELS): Promise<RgbImage> {
  const { width, height, channels, data } = await decoded(source, maxPixels, (file) => file.removeAlpha());
  return channels === 3 ? { width, height, data } : inColour({ width, height, data });
}

/** A grey image in colour. */
export function inColour({ width, height, data }: GreyImage): RgbImage {
  return { width, height, data: Uint8Array.from({ length: 3 * width * height }, (_, k) => data[Math.floor(k / 3)]) };
}

/**
 * Reads the transparency of an image as a grey image, white where nothing of it is seen. Formats, orientation and errors are those of
 * `readImage`.
 * @returns [height, width]
 */
export async function readTransparency(source: string | Uint8Array, maxPixels = MAX_PIXELS): Promise<GreyImage> {
  const { width, height, channels, data } = await decoded(source, maxPixels, (file) => file.ensureAlpha());
  const alpha = (pixel: number) => data[channels * pixel + channels - 1];
  return { width, height, data: Uint8Array.from({ length: width * height }, (_, pixel) => 255 - alpha(pixel)) };
}

async function decoded(source: string | Uint8Array, maxPixels: number, withAlpha: (file: Sharp) => Sharp) {
  const sharp = await codec();
  try {
    if (typeof source === 'string') {
      if ((await stat(source)).isDirectory()) throw new Error('a folder');
      // sharp takes a file that it may not read for one of another format.
      await access(source, constants.R_OK);
    }
    const file = withAlpha(sharp(source, { limitInputPixels: maxPixels }).rotate());
    const { data, info } = await file
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, channels: info.channels, data };
  } catch (error) {
    throw new SrdsError(
      'INVALID_OPTION',
      `an image${typeof source === 'string' ? ` at ${source}` : ''}`,
      messageOf(error),
      fileRemedy(error, 'give a PNG, JPEG or WebP file'),
      { cause: error },
    );
  }
}

/** Resizes an image as diffusers does, with Pillow's Lanczos filter. @param width in pixels @param height in pixels */
export async function resized(image: RgbImage, width: number, height: number): Promise<RgbImage> {
  if (image.width === width && image.height === height) return image;
  return { width, height, data: await lanczos(image.data, image, { width, height }) };
}
