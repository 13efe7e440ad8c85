import { codec } from './codec.js';
import type { RgbImage } from './image.js';
import { encodePng } from './png.js';

/** File formats for images. */
export const IMAGE_FORMATS = ['png', 'jpeg', 'webp'] as const;
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/**
 * Encodes an image as a file.
 * @param quality quality of JPEG and WebP, 0 to 100
 * @param parameters generation parameters as text, which only a PNG holds
 */
export async function encodeImage(
  image: RgbImage,
  format: ImageFormat,
  { quality = 100, parameters }: { readonly quality?: number; readonly parameters?: string } = {},
): Promise<Buffer> {
  const { data, width, height } = image;
  if (format === 'png') return encodePng(image, parameters === undefined ? {} : { parameters });
  const sharp = await codec();
  const raw = sharp(data, { raw: { width, height, channels: 3 } });
  // sharp's lowest quality is 1.
  const options = { quality: Math.max(1, quality) };
  return (format === 'jpeg' ? raw.jpeg(options) : raw.webp(options)).toBuffer();
}
