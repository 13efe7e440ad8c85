import { readFile } from 'node:fs/promises';
import { fileRemedy, messageOf, SrdsError } from '../errors.js';
import { decodeNpy, encodeNpy } from '../tensor/npy.js';
import { float32, sizeOf, type Tensor } from '../tensor/tensor.js';
import { latentDims, type ModelFolder } from '../model/modelFolder.js';
import type { GenerateResult } from './result.js';

/** The final latents of all images in NumPy's format, float32, [n, channels, height, width]. */
export function latentsFile({ images, settings }: GenerateResult, model: ModelFolder): Uint8Array {
  const dims = latentDims(model, settings);
  const size = sizeOf(dims);
  const all = new Float32Array(images.length * size);
  images.forEach(({ latents }, i) => all.set(latents, i * size));
  return encodeNpy(all, [images.length, ...dims]);
}

/** Initial noise from a file in NumPy's format, float32. @throws SrdsError INVALID_OPTION if it is none */
export async function readNoise(path: string): Promise<Tensor> {
  try {
    const { data, dims } = decodeNpy(await readFile(path));
    return float32(data, dims.length === 3 ? [1, ...dims] : dims);
  } catch (error) {
    throw new SrdsError(
      'INVALID_OPTION',
      `noise in ${path}`,
      messageOf(error),
      fileRemedy(error, 'give a float32 .npy file'),
      {
        cause: error,
      },
    );
  }
}
