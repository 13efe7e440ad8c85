import { codec } from './codec.js';
import type { RgbImage } from './image.js';
import { encodePng } from './png.js';

/** Kinds of files that images are written as. */
export const IMAGE_FORMATS = ['png', 'jpeg', 'webp'] as const;
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/**
 * A file of an image.
 * @param quality 0 to 100, of JPEG and WebP
 * @param parameters text about how it was made, which a PNG carries
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
  // sharp has no quality 0.
  const options = { quality: Math.max(1, quality) };
  return (format === 'jpeg' ? raw.jpeg(options) : raw.webp(options)).toBuffer();
}
