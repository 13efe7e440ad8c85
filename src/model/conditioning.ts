import { float32, type Tensor } from '../tensor/tensor.js';

/** Inputs of the denoising network that depend on the prompt, each without batch axis. */
export type Conditioning = Readonly<Record<string, Tensor>>;

/** Output of a text encoder for one prompt. */
export interface EncodedText {
  /** Hidden state, [positions, width]. */
  readonly hidden: Tensor;
  /** Projected pooled output, [width]; undefined if the encoder has none that the family uses. */
  readonly pooled: Tensor | undefined;
}

/**
 * Concatenates hidden states along their width.
 * @param tensors each [positions, width], with equal positions
 * @returns [positions, sum of widths]
 */
export function concatenateWidths(tensors: readonly Tensor[]): Tensor {
  if (tensors.length === 1) return tensors[0];
  const positions = tensors[0].dims[0];
  const width = tensors.reduce((sum, { dims }) => sum + dims[1], 0);
  const joined = new Float32Array(positions * width);
  let left = 0;
  for (const { data, dims } of tensors) {
    for (let p = 0; p < positions; p++) {
      joined.set((data as Float32Array).subarray(p * dims[1], (p + 1) * dims[1]), p * width + left);
    }
    left += dims[1];
  }
  return float32(joined, [positions, width]);
}

/** A conditioning of zeros with the same shapes. Inputs named in `kept` keep their values. */
export function zerosLike(conditioning: Conditioning, kept: readonly string[] = []): Conditioning {
  return Object.fromEntries(
    Object.entries(conditioning).map(([name, tensor]) => [
      name,
      kept.includes(name) ? tensor : float32(new Float32Array(tensor.data.length), tensor.dims),
    ]),
  );
}
