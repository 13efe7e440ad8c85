import type { TensorInfo } from '../onnx/graphInfo.js';
import { Generator } from '../random/generator.js';
import { float32, sizeOf, type Tensor } from '../tensor/tensor.js';
import type { EncodedText } from './conditioning.js';
import type { ImageSize, TextEncoderPart } from './family.js';
import { TEXT_MASK } from './inputRoles.js';
import { imageTokens, latentDims, type ModelFolder, type TextEncoder } from './modelFolder.js';

/** Makes the example of every call the same. */
const SEED = 1;

/**
 * Inputs of one row of the denoising network, each without batch axis, for warming up and comparing without a prompt: normally
 * distributed samples and states, true positions and sizes. No text encoder runs.
 * @param inputs of the network's graph
 * @returns undefined if neither the graph nor the configuration says how wide an input is
 */
export function exampleInputs(
  model: ModelFolder,
  size: ImageSize,
  inputs: readonly TensorInfo[],
): Readonly<Record<string, Tensor>> | undefined {
  const { family, network, textEncoders, sequenceLength, defaults } = model;
  const latents = latentDims(model, size);
  const conditioning = family.condition(
    textEncoders.map((one, k) => one && encodedNothing(family.textEncoders[k].kind, one, model)),
    { network, size, latents, sequenceLength: sequenceLength?.default, guidance: defaults.guidance ?? 1 },
  );
  const [tokens] = conditioning.encoder_hidden_states.dims;
  const schedule = model.scheduler.scheduleFor(model.scheduler.solver ?? 'ddim', { tokens: imageTokens(model, size) });
  const given: Readonly<Record<string, Tensor>> = {
    [family.sampleInput]: zeros(family.layout.dims(latents)),
    timestep: float32(Float32Array.of(family.networkTime(schedule.trainTimesteps / 2)), []),
    [TEXT_MASK]: float32(new Float32Array(tokens).fill(1), [tokens]),
    ...conditioning,
  };
  const random = new Generator(SEED);
  const example = inputs.map(({ name, dims: all, constant = false }): [string, Tensor] => {
    const declared = constant ? all : all.slice(1);
    const { dims, data } = given[name];
    const fixed = dims.map((dim, k) => (typeof declared[k] === 'number' ? declared[k] : dim));
    const isOpen = data instanceof Float32Array && data.every((value) => value === 0);
    return [name, isOpen ? float32(random.randn(sizeOf(fixed)), fixed) : given[name]];
  });
  return example.every(([, { dims }]) => !dims.includes(0)) ? Object.fromEntries(example) : undefined;
}

/** The states of a text encoder, in zeros. Widths that no configuration says are 0: the network's graph has them. */
function encodedNothing(
  kind: TextEncoderPart['kind'],
  { tokenizer }: TextEncoder,
  { network, sequenceLength }: ModelFolder,
): EncodedText {
  const tokens = Math.min(sequenceLength?.default ?? Infinity, tokenizer.maxLength);
  return { hidden: zeros([tokens, kind === 't5' ? (network.textWidth ?? 0) : 0]), pooled: zeros([0]) };
}

function zeros(dims: readonly number[]): Tensor {
  return float32(new Float32Array(sizeOf(dims)), dims);
}
