import { inColour, resized, type GreyImage, type RgbImage } from './image.js';

/** Which pixels of an image to repaint, white from 128 grey levels on. The length of its data tells which of both it is. */
export type MaskImage = RgbImage | GreyImage;

/** Least grey level that counts as white. */
const WHITE = 128;

/** Whether the data of a mask fills its size, in grey or in colour. */
export function isMask({ width, height, data }: MaskImage): boolean {
  return data.length === width * height || data.length === 3 * width * height;
}

/** Whether a grey mask has anything to repaint, at its own size. */
export function repaintsAnything({ data }: GreyImage): boolean {
  return data.some((grey) => grey >= WHITE);
}

/**
 * A mask at a size, with each pixel black or white. Source: diffusers VaeImageProcessor.preprocess with do_convert_grayscale and
 * do_binarize.
 * @returns [height, width], 1 where to repaint
 */
export async function binaryMask(mask: MaskImage, width: number, height: number): Promise<Uint8Array> {
  const isColour = mask.data.length === 3 * mask.width * mask.height;
  const { data } = await resized(isColour ? mask : inColour(mask), width, height);
  return Uint8Array.from({ length: width * height }, (_, i) => (luminance(data, 3 * i) >= WHITE ? 1 : 0));
}

/** The grey value of a pixel, as Pillow computes it: ITU-R 601-2 in fixed point. */
function luminance(data: Uint8Array, at: number): number {
  return (19595 * data[at] + 38470 * data[at + 1] + 7471 * data[at + 2] + 0x8000) >> 16;
}

/**
 * A binary mask at a smaller size: of the pixels that become one, the first counts. Source: torch.nn.functional.interpolate, as
 * diffusers calls it to bring a mask to the size of latents.
 * @param mask [height, width]
 * @param factor of both sides
 * @returns [height / factor, width / factor]
 */
export function subsampled(mask: Uint8Array, width: number, factor: number): Uint8Array {
  const columns = width / factor;
  return Uint8Array.from(
    { length: mask.length / factor ** 2 },
    (_, i) => mask[Math.floor(i / columns) * factor * width + (i % columns) * factor],
  );
}

/** Share of the pixels that a binary mask repaints; 1 without a mask, and where it repaints nothing, so that nothing changes. */
export function repaintedShare(mask: Uint8Array | undefined): number {
  const repainted = mask?.reduce((sum, pixel) => sum + pixel, 0);
  return mask && repainted ? repainted / mask.length : 1;
}
