import sharp from 'sharp';
import type { RgbImage } from '../image/image.js';
import { encodePng } from '../image/png.js';

const GAP = 4;

/** Places images of one size side by side on white. @returns a PNG file */
export async function sideBySide(images: readonly RgbImage[]): Promise<Buffer> {
  const { width, height } = images[0];
  const total = { width: images.length * (width + GAP) - GAP, height };
  const overlays = images.map((image, i) => ({
    input: Buffer.from(image.data),
    raw: { width, height, channels: 3 as const },
    left: i * (width + GAP),
    top: 0,
  }));
  const data = await sharp({ create: { ...total, channels: 3, background: 'white' } })
    .composite(overlays)
    .removeAlpha()
    .raw()
    .toBuffer();
  return encodePng({ ...total, data });
}
