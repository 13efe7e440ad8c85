import type { Batcher, RequestOptions } from '../engine/batcher.js';
import { isShared, type GraphInfo, type Rewrite, type TensorInfo } from '../onnx/graphInfo.js';
import type { Engine, Evaluation, OutputRow } from '../engine/engine.js';
import { SrdsError } from '../errors.js';
import { allFinite } from '../tensor/operations.js';
import { float32, int64, sizeOf, type Tensor } from '../tensor/tensor.js';
import { toRgb, toValues, type RgbImage } from '../image/image.js';
import { fromLatents } from './latentScale.js';
import type { Conditioning, EncodedText } from './conditioning.js';
import { isDenoiser, type GraphName, type TextEncoderName } from './graphNames.js';
import { inputRoles, MASK, POSITIONS, TEXT_MASK } from './inputRoles.js';
import { latentDims, textGraphs, type ModelFolder } from './modelFolder.js';

const INPUT_TYPES: readonly string[] = ['float32', 'int32', 'int64'];

/** Outputs of a text encoder as transformers names them. */
const STANDARD_OUTPUTS: readonly string[] = ['last_hidden_state', 'pooler_output', 'text_embeds'];

/** Text encoding and the VAE go before the denoising network's evaluations. A new client has the smallest share so far and goes first. */
const highestPriority = () => ({ priority: [-1], client: {} });

/** How a denoising network takes timesteps: one for each row, in its file or after rewriting, or one for the whole batch. */
export type TimestepBatching =
  { readonly kind: 'perRow' | 'rewritten' } | { readonly kind: 'shared'; readonly why: string };

/** The text encoders and the VAE of a model folder on an engine. A graph must be loaded before it is used. */
export class Networks {
  constructor(
    private readonly model: ModelFolder,
    private readonly engine: Engine,
    private readonly batcher: Batcher,
  ) {}

  /**
   * Checks the loaded graphs.
   * @throws SrdsError MODEL_INVALID if a graph has other inputs or outputs than the model's family needs
   */
  check(): void {
    for (const [name, info] of this.engine.graphs) checkGraph(this.model, name as GraphName, info);
    for (const graph of textGraphs(this.model)) {
      if (this.engine.graphs.has(graph)) this.textOutputs(graph);
    }
  }

  /** Name of the denoising network's output. */
  get denoiserOutput(): string {
    return this.graph(this.model.family.network).outputs[0].name;
  }

  /** Whether the denoising network rounds as in half precision. GPUs do so with float32 too, where they multiply in TF32. */
  get roundsCoarsely(): boolean {
    const { precision, roundsCoarsely = false } = this.graph(this.model.family.network);
    return this.engine.buckets.length > 0 || precision === 'float16' || roundsCoarsely;
  }

  /** How the loaded denoising network takes timesteps. */
  get timestepBatching(): TimestepBatching {
    const { inputs, rewrite } = this.graph(this.model.family.network);
    const shared = inputs.some((input) => input.name === 'timestep' && isShared(input));
    return timestepBatching(shared, rewrite);
  }

  /**
   * Encodes a prompt with one text encoder.
   * @param mask which ids the encoder attends to; used if the graph takes a mask
   */
  async encodeText(
    encoder: TextEncoderName,
    { ids, mask }: { readonly ids: readonly number[]; readonly mask: readonly number[] },
    signal: AbortSignal,
  ): Promise<EncodedText> {
    const outputs = this.textOutputs(encoder);
    const given: Readonly<Record<string, readonly number[]>> = {
      input_ids: ids,
      [MASK]: mask,
      [POSITIONS]: [...ids.keys()],
    };
    const taken = this.graph(encoder).inputs.map(({ name }) => [name, int64(given[name], [ids.length])] as const);
    const inputs = Object.fromEntries(taken);
    const options = { ...highestPriority(), signal };
    const evaluate = async (output: string | undefined) =>
      output === undefined ? undefined : (await this.batcher.evaluate({ graph: encoder, output, inputs }, options))[0];
    const [hidden, pooled] = await Promise.all([evaluate(outputs.hidden), evaluate(outputs.pooled)]);
    if (hidden && hidden.length % ids.length !== 0)
      throw unusable(this.model, encoder, `a hidden state of ${ids.length} positions`, `${hidden.length} values`);
    return {
      hidden: hidden && float32(hidden, [ids.length, hidden.length / ids.length]),
      pooled: pooled && float32(pooled, [pooled.length]),
    };
  }

  /**
   * Adds what a network takes beside the conditioning of a prompt: a mask of its text, of which diffusers' pipelines mask nothing.
   */
  completed(conditioning: Conditioning): Conditioning {
    const isMasked = this.graph(this.model.family.network).inputs.some(({ name }) => name === TEXT_MASK);
    const positions = conditioning.encoder_hidden_states.dims[0];
    return isMasked
      ? { ...conditioning, [TEXT_MASK]: float32(new Float32Array(positions).fill(1), [positions]) }
      : conditioning;
  }

  /**
   * Decodes latents to an image.
   * @param latents the sampler's result, [channels, height / factor, width / factor]
   * @param width width of the image, in pixels
   * @param height height of the image, in pixels
   * @throws SrdsError MODEL_INVALID if the latents or what the decoder makes of them are not finite
   */
  async decode(latents: Float32Array, width: number, height: number, signal: AbortSignal): Promise<RgbImage> {
    const { latentScale } = this.model;
    if (!allFinite(latents)) {
      throw new SrdsError(
        'MODEL_INVALID',
        'latents that are finite numbers',
        'NaN or infinite values',
        'try a smaller guidance scale; if that does not help, the model is damaged',
      );
    }
    const dims = latentDims(this.model, { width, height });
    const scaled = float32(fromLatents(latentScale, latents), dims);
    const size = 3 * width * height;
    const [evaluation, options] = this.ofVae('vae_decoder', scaled, signal);
    const { image } = this.graph('vae_decoder');
    if (image !== undefined) {
      const [data] = await this.batcher.evaluateImages({ ...evaluation, output: image }, options);
      this.checkSize('vae_decoder', data, [size]);
      // Bytes cannot say that a decoder in half precision overflows: its image has one value everywhere.
      if (data.every((value) => value === data[0])) await this.decodedValues(evaluation, options, size);
      // Images of one batch share their memory.
      return { width, height, data: data.byteLength < data.buffer.byteLength ? data.slice() : data };
    }
    return toRgb(await this.decodedValues(evaluation, options, size), width, height);
  }

  private async decodedValues(evaluation: Evaluation, options: RequestOptions, size: number): Promise<Float32Array> {
    const [decoded] = await this.batcher.evaluate(evaluation, options);
    this.checkSize('vae_decoder', decoded, [size]);
    if (allFinite(decoded)) return decoded;
    throw new SrdsError(
      'MODEL_INVALID',
      `finite numbers from ${this.model.graphs.vae_decoder ?? 'the decoder'}`,
      'NaN or infinite values',
      'run with --precision float32; if that does not help, the model is damaged',
    );
  }

  /**
   * Encodes an image with the VAE. Source: diffusers AutoencoderKL.encode.
   * @returns mean and log variance, each [channels, height / factor, width / factor]; exports that sample inside the graph
   * return the sample alone
   */
  async encode(image: RgbImage, signal: AbortSignal): Promise<Float32Array> {
    const { width, height } = image;
    const values = float32(toValues(image), [3, height, width]);
    const [encoded] = await this.batcher.evaluate(...this.ofVae('vae_encoder', values, signal));
    const size = sizeOf(latentDims(this.model, image));
    this.checkSize('vae_encoder', encoded, [size, 2 * size]);
    return encoded;
  }

  private checkSize(graph: GraphName, { length }: OutputRow, sizes: readonly number[]): void {
    if (sizes.includes(length)) return;
    throw unusable(this.model, graph, `an output of ${sizes.join(' or ')} values for this size`, `${length}`);
  }

  /** An evaluation of a part of the VAE, for its first output. */
  private ofVae(graph: GraphName, input: Tensor, signal: AbortSignal): [Evaluation, RequestOptions] {
    const { inputs, outputs } = this.graph(graph);
    const evaluation = { graph, output: outputs[0].name, inputs: { [inputs[0].name]: input } };
    // A CPU decodes images one after the other: together they would only take more memory.
    const maxRows = this.engine.buckets.length === 0 ? 1 : undefined;
    return [evaluation, { ...highestPriority(), maxRows, signal }];
  }

  private textOutputs(graph: TextEncoderName): ReturnType<ModelFolder['family']['textOutputs']> {
    const { outputs } = this.graph(graph);
    const names = outputs.map(({ name }) => name);
    const { hidden, pooled } = this.model.family.textOutputs(graph, names);
    /** An output of that name, or where names are free, the first with so many axes. */
    const find = (wanted: string, rank: number): string => {
      const isNamed = names.includes(wanted) || names.some((name) => STANDARD_OUTPUTS.includes(name));
      const found = isNamed ? wanted : outputs.find(({ dims }) => dims.length === rank)?.name;
      if (found !== undefined && names.includes(found)) return found;
      throw unusable(this.model, graph, `an output ${wanted}`, names.join(', ') || 'none');
    };
    return {
      ...(hidden !== undefined && { hidden: find(hidden, 3) }),
      ...(pooled !== undefined && { pooled: find(pooled, 2) }),
    };
  }

  private graph(name: GraphName): GraphInfo {
    const info = this.engine.graphs.get(name);
    if (info) return info;
    throw unusable(this.model, name, 'a graph that is loaded', 'none');
  }
}

/** @throws SrdsError MODEL_INVALID if a graph has other inputs or outputs than the model's family needs */
function checkGraph(model: ModelFolder, name: GraphName, info: GraphInfo): void {
  const roles = inputRoles(name, model.network.inputs);
  const names = info.inputs.map((input) => input.name);
  const needed = roles.filter(({ optional }) => optional === undefined).map((role) => role.name);
  if (
    !needed.every((input) => names.includes(input)) ||
    !names.every((one) => roles.some((role) => role.name === one))
  ) {
    throw unusable(model, name, `the inputs ${needed.join(', ')}`, namesOf(info.inputs));
  }
  const states = isDenoiser(name) ? info.inputs.find((input) => input.name === 'encoder_hidden_states') : undefined;
  const [width, expectedWidth] = [states?.dims.at(-1), model.network.textWidth];
  if (typeof width === 'number' && expectedWidth !== undefined && width !== expectedWidth) {
    throw unusable(model, name, `text states of width ${expectedWidth}, its joint_attention_dim,`, `${width}`);
  }
  if (info.outputs.length === 0) throw unusable(model, name, 'an output', 'none');
  const unsupported =
    info.inputs.find(({ type }) => !INPUT_TYPES.includes(type)) ?? info.outputs.find(({ type }) => type !== 'float32');
  if (unsupported) {
    throw unusable(
      model,
      name,
      'inputs and outputs that are numbers',
      `${unsupported.name} of type ${unsupported.type}`,
    );
  }
}

/**
 * How a denoising network takes timesteps.
 * @param shared whether a session takes one timestep for the whole batch
 */
export function timestepBatching(shared: boolean, rewrite: Rewrite | undefined): TimestepBatching {
  if (!shared) return { kind: rewrite?.status === 'rewritten' ? 'rewritten' : 'perRow' };
  return { kind: 'shared', why: rewrite?.status === 'impossible' ? rewrite.why : 'rewriting was turned off' };
}

function namesOf(values: readonly TensorInfo[]): string {
  return values.map(({ name }) => name).join(', ') || 'none';
}

function unusable(model: ModelFolder, graph: GraphName, expected: string, found: string): SrdsError {
  return new SrdsError(
    'MODEL_INVALID',
    `${expected} in ${model.graphs[graph] ?? graph}`,
    found,
    'export the model with Optimum',
  );
}

/** Warning for a network that takes one timestep for a batch. @param why the reason */
export function sharedWarning(why: string): string {
  return (
    `this network takes one timestep for a whole batch (${why}), so evaluations at different timesteps take turns, and ` +
    'samplers that make more of them take longer than the serial one; a network that optimum-cli export onnx writes is rewritten'
  );
}
