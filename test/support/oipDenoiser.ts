import { float16Bytes, floatsOf } from './float16.js';
import type { OipModel, OipTensor, ReceivedRequest } from './oipServer.js';

/** How a server takes and returns the tensors of the stand-in for a denoising network. */
export interface DenoiserForm {
  readonly datatype?: 'FP32' | 'FP16';
  /** Shape of the timestep, the batch axis included; default: [-1, 1], as Triton has it. */
  readonly timestep?: readonly number[];
  readonly timestepType?: 'FP16' | 'FP32' | 'INT64';
  readonly config?: object;
}

const TEXT_WIDTH = 8;

/**
 * A stand-in for a denoising network: out = sample / 2 + timestep / 1024 + the mean of the text's states. All numbers of the tests are sums
 * of few powers of two, so that float32 and float16 hold them exactly, in any order of the sums.
 */
export function denoiser({
  datatype = 'FP32',
  timestep = [-1, 1],
  timestepType = datatype,
  config,
}: DenoiserForm = {}): OipModel {
  return {
    name: 'unet',
    inputs: [
      { name: 'sample', datatype, shape: [-1, 2, -1] },
      { name: 'timestep', datatype: timestepType, shape: timestep },
      { name: 'encoder_hidden_states', datatype, shape: [-1, -1, TEXT_WIDTH] },
    ],
    outputs: [{ name: 'out_sample', datatype, shape: [-1, 2, -1] }],
    ...(config && { config }),
    compute: (request) => denoised(request),
  };
}

const stub = denoiser({ config: { max_batch_size: 8 } });
const SHAPES: Readonly<Record<string, readonly number[]>> = {
  sample: [-1, 4, -1, -1],
  timestep: [-1, 1],
  encoder_hidden_states: [-1, -1, 32],
};
/** A stand-in with the inputs and the output of the network of the fixture sd15. */
export const SD15_UNET: OipModel = {
  ...stub,
  inputs: stub.inputs.map((input) => ({ ...input, shape: SHAPES[input.name] })),
  outputs: [{ name: 'out_sample', datatype: 'FP32', shape: SHAPES.sample }],
};

function denoised({ inputs }: ReceivedRequest): OipTensor {
  const [sample, timestep, text] = ['sample', 'timestep', 'encoder_hidden_states'].map((name) => inputs.get(name)!);
  const rows = sample.shape[0];
  const [x, t, states] = [sample, timestep, text].map(floatsOf);
  const output = x.map((value, k) => {
    const row = Math.floor((k * rows) / x.length);
    const own = states.slice((row * states.length) / rows, ((row + 1) * states.length) / rows);
    return value / 2 + t[t.length === 1 ? 0 : row] / 1024 + own.reduce((a, b) => a + b, 0) / own.length;
  });
  const { datatype, shape } = sample;
  const bytes = datatype === 'FP16' ? float16Bytes(output) : new Uint8Array(Float32Array.from(output).buffer);
  return { datatype, shape, bytes };
}
