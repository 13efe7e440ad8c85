import { SrdsError } from '../errors.js';
import { float32, type Tensor } from '../tensor/tensor.js';

/** Inputs of the denoising network that depend on the prompt, each without batch axis. */
export type Conditioning = Readonly<Record<string, Tensor>>;

/** Output of a text encoder for one prompt. */
export interface EncodedText {
  /** Hidden state, [positions, width]; undefined if the family uses none. */
  readonly hidden: Tensor | undefined;
  /** Projected pooled output, [width]; undefined if the encoder has none that the family uses. */
  readonly pooled: Tensor | undefined;
}

/**
 * Concatenates hidden states along their width.
 * @param tensors each [positions, width], with equal positions
 * @returns [positions, sum of widths]
 * @throws SrdsError MODEL_INVALID if the positions differ
 */
export function concatenateWidths(tensors: readonly Tensor[]): Tensor {
  if (tensors.length === 1) return tensors[0];
  const positions = tensors[0].dims[0];
  const other = tensors.find(({ dims }) => dims[0] !== positions);
  if (other) {
    throw new SrdsError(
      'MODEL_INVALID',
      'text encoders of equally many tokens',
      `${positions} and ${other.dims[0]}`,
      'restore the model_max_length of the tokenizers as published with the model',
    );
  }
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

/** The hidden states of a prompt. @throws Error if a text encoder that the family needs gave none */
export function hiddenStates(encoded: readonly (EncodedText | undefined)[]): Tensor[] {
  return encoded.map((one) => given(one?.hidden, 'hidden state'));
}

/** The hidden state of T5. @throws SrdsError MODEL_INVALID unless it has the width that the denoising network takes */
export function statesOfWidth(encoded: EncodedText | undefined, width: number | undefined): Tensor {
  const [states] = hiddenStates([encoded]);
  if (width === undefined || states.dims[1] === width) return states;
  throw new SrdsError(
    'MODEL_INVALID',
    `a T5 text encoder of width ${width}, the joint_attention_dim of the transformer`,
    String(states.dims[1]),
    'use the text encoder published with the model',
  );
}

/** The pooled output of a text encoder. @throws Error if it gave none */
export function pooledOf(encoded: EncodedText | undefined): Tensor {
  return given(encoded?.pooled, 'pooled output');
}

function given(tensor: Tensor | undefined, what: string): Tensor {
  if (tensor) return tensor;
  throw new Error(`a text encoder gave no ${what}`);
}

const HIDDEN_STATE = /^hidden_states\.(\d+)$/;

/** Name of the hidden state before the last one. Source: encode_prompt of diffusers' SDXL and SD3 pipelines. */
export function penultimateState(outputs: readonly string[]): string {
  const layers = outputs.flatMap((name) => HIDDEN_STATE.exec(name)?.[1] ?? []).map(Number);
  return `hidden_states.${Math.max(1, ...layers) - 1}`;
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
