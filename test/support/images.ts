import sharp from 'sharp';
import type { Pipeline } from 'srds';
import type { RgbImage } from 'srds/image';
import { sharedPipeline } from './pipelines.js';
import { SD15 } from './server.js';

/** The pixels and the format of an image file. @param file base64 or bytes */
export async function pixelsOf(file: string | Uint8Array): Promise<RgbImage & { format: string }> {
  const bytes = typeof file === 'string' ? Buffer.from(file, 'base64') : file;
  const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
  return {
    data: new Uint8Array(data),
    width: info.width,
    height: info.height,
    format: (await sharp(bytes).metadata()).format,
  };
}

/** The image that the library generates with the tiny model. */
export async function libraryImage(options: Parameters<Pipeline['generate']>[0]): Promise<RgbImage> {
  const pipeline = await sharedPipeline(SD15);
  return (await pipeline.generate(options).result).images[0].rgb!;
}
