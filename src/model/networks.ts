import type { Batcher } from '../engine/batcher.js';
import { isShared, type GraphInfo, type Rewrite, type TensorInfo } from '../onnx/graphInfo.js';
import { type Engine } from '../engine/engine.js';
import { SrdsError } from '../errors.js';
import { float32, int64, sizeOf, type Tensor } from '../tensor/tensor.js';
import { toRgb, toValues, type RgbImage } from '../image/image.js';
import { fromLatents } from './latentScale.js';
import { latentDims, type GraphName, type ModelFolder, type TextEncoderName } from './modelFolder.js';

const INPUT_TYPES: readonly string[] = ['float32', 'float16', 'int32', 'int64'];
const OUTPUT_TYPES: readonly string[] = ['float32', 'float16'];
const SD_INPUTS = ['sample', 'timestep', 'encoder_hidden_states'];
const UNET_INPUTS = { sd: SD_INPUTS, sdxl: [...SD_INPUTS, 'text_embeds', 'time_ids'] };
const HIDDEN_STATE = /^hidden_states\.(\d+)$/;

/** Texts and images go before all else: others wait for them. One without a past has been given least. */
const first = () => ({ priority: [-1], client: {} });

/** How a UNet takes its timesteps: one a row, as its file has it or rewritten, or one for the whole batch. */
export type TimestepBatching =
  { readonly kind: 'perRow' | 'rewritten' } | { readonly kind: 'shared'; readonly why: string };

/** The networks of a Stable Diffusion folder on an engine, by what they mean. A graph that is used must be loaded. */
export class Networks {
  constructor(
    private readonly model: ModelFolder,
    private readonly engine: Engine,
    private readonly batcher: Batcher,
  ) {}

  /**
   * Checks the graphs that are loaded.
   * @throws SrdsError MODEL_INVALID if one does not take or give what Stable Diffusion's does
   */
  check(): void {
    for (const [name, info] of this.engine.graphs) checkGraph(this.model, name as GraphName, info);
    for (const { graph } of this.model.textEncoders) {
      if (this.engine.graphs.has(graph)) this.textOutputs(graph);
    }
  }

  get unetOutput(): string {
    return this.graph('unet').outputs[0].name;
  }

  get timestepBatching(): TimestepBatching {
    const { inputs, rewrite } = this.graph('unet');
    const shared = inputs.some((input) => input.name === 'timestep' && isShared(input));
    return timestepBatching(shared, rewrite);
  }

  /**
   * What a text encoder says of a prompt: for Stable Diffusion its last hidden state, for SDXL the last but one and, of the
   * second encoder, the projected pooled output.
   * @param ids token ids, [positions]
   * @returns hidden [positions, width], pooled [width]
   */
  async encodeText(
    encoder: TextEncoderName,
    ids: readonly number[],
    signal: AbortSignal,
  ): Promise<{ readonly hidden: Tensor; readonly pooled: Tensor | undefined }> {
    const outputs = this.textOutputs(encoder);
    const inputs = { input_ids: int64(ids, [ids.length]) };
    const options = { ...first(), signal };
    const ask = async (output: string) => (await this.batcher.evaluate({ graph: encoder, output, inputs }, options))[0];
    const [hidden, pooled] = await Promise.all([ask(outputs.hidden), outputs.pooled && ask(outputs.pooled)]);
    return {
      hidden: float32(hidden, [ids.length, hidden.length / ids.length]),
      pooled: pooled ? float32(pooled, [pooled.length]) : undefined,
    };
  }

  /**
   * The image of latents.
   * @param latents [channels, height / factor, width / factor], as the sampler ends with
   * @param width of the image, in pixels
   */
  async decode(latents: Float32Array, width: number, height: number, signal: AbortSignal): Promise<RgbImage> {
    const { latentScale } = this.model;
    if (!latents.every(Number.isFinite)) {
      throw new SrdsError(
        'ENGINE_FAILED',
        'latents that are finite numbers',
        'others',
        'try a smaller guidance scale; if that does not help, the model is damaged',
      );
    }
    const dims = latentDims(this.model, { width, height });
    const scaled = fromLatents(latentScale, latents);
    const decoded = await this.vae('vae_decoder', float32(scaled, dims), signal);
    this.checkSize('vae_decoder', decoded, [3 * width * height]);
    return toRgb(decoded, width, height);
  }

  /**
   * What the VAE encoder says of an image. Source: diffusers AutoencoderKL.encode.
   * @returns mean and log variance, each [channels, height / factor, width / factor]; of exports that draw the sample
   * themselves the sample alone
   */
  async encode(image: RgbImage, signal: AbortSignal): Promise<Float32Array> {
    const { width, height } = image;
    const encoded = await this.vae('vae_encoder', float32(toValues(image), [3, height, width]), signal);
    const size = sizeOf(latentDims(this.model, image));
    this.checkSize('vae_encoder', encoded, [size, 2 * size]);
    return encoded;
  }

  private checkSize(graph: GraphName, { length }: Float32Array, sizes: readonly number[]): void {
    if (sizes.includes(length)) return;
    throw unusable(this.model, graph, `an output of ${sizes.join(' or ')} values for this size`, `${length}`);
  }

  private async vae(graph: GraphName, input: Tensor, signal: AbortSignal): Promise<Float32Array> {
    const { inputs, outputs } = this.graph(graph);
    const evaluation = { graph, output: outputs[0].name, inputs: { [inputs[0].name]: input } };
    return (await this.batcher.evaluate(evaluation, { ...first(), signal }))[0];
  }

  private textOutputs(graph: TextEncoderName): { readonly hidden: string; readonly pooled: string | undefined } {
    const names = this.graph(graph).outputs.map(({ name }) => name);
    const need = (name: string): string => {
      if (names.includes(name)) return name;
      throw unusable(this.model, graph, `an output ${name}`, names.join(', ') || 'none');
    };
    if (this.model.kind === 'sd') return { hidden: need('last_hidden_state'), pooled: undefined };
    const layers = names.flatMap((name) => HIDDEN_STATE.exec(name)?.[1] ?? []).map(Number);
    return {
      hidden: need(`hidden_states.${Math.max(1, ...layers) - 1}`),
      pooled: graph === 'text_encoder_2' ? need('text_embeds') : undefined,
    };
  }

  private graph(name: GraphName): GraphInfo {
    const info = this.engine.graphs.get(name);
    if (info) return info;
    throw unusable(this.model, name, 'a graph that is loaded', 'none');
  }
}

/** @throws SrdsError MODEL_INVALID if a graph does not take or give what Stable Diffusion's of that name does */
function checkGraph(model: ModelFolder, name: GraphName, info: GraphInfo): void {
  const names = info.inputs.map((input) => input.name);
  const expected = name === 'unet' ? UNET_INPUTS[model.kind] : name.startsWith('text') ? ['input_ids'] : undefined;
  const fits = expected
    ? names.length === expected.length && expected.every((input) => names.includes(input))
    : names.length === 1;
  if (!fits) {
    throw unusable(model, name, expected ? `the inputs ${expected.join(', ')}` : 'one input', namesOf(info.inputs));
  }
  if (info.outputs.length === 0) throw unusable(model, name, 'an output', 'none');
  const odd =
    info.inputs.find(({ type }) => !INPUT_TYPES.includes(type)) ??
    info.outputs.find(({ type }) => !OUTPUT_TYPES.includes(type));
  if (odd) throw unusable(model, name, 'float32 or float16 values', `${odd.name} of type ${odd.type}`);
}

/** @param shared whether a session of the UNet takes one timestep for the whole batch */
export function timestepBatching(shared: boolean, rewrite: Rewrite | undefined): TimestepBatching {
  if (!shared) return { kind: rewrite?.status === 'rewritten' ? 'rewritten' : 'perRow' };
  return { kind: 'shared', why: rewrite?.status === 'impossible' ? rewrite.why : 'it was not to be rewritten' };
}

function namesOf(values: readonly TensorInfo[]): string {
  return values.map(({ name }) => name).join(', ') || 'none';
}

function unusable(model: ModelFolder, graph: GraphName, expected: string, found: string): SrdsError {
  return new SrdsError(
    'MODEL_INVALID',
    `${expected} in ${model.graphs[graph] ?? graph}`,
    found,
    'export a Stable Diffusion 1.x, 2.x or SDXL model with Optimum',
  );
}

/** What it means that a UNet takes one timestep for a batch. @param why it does */
export function sharedWarning(why: string): string {
  return (
    `this UNet takes one timestep for a whole batch (${why}), so evaluations at different timesteps take turns and SRDS, ` +
    'which makes more of them, takes longer than the serial sampler; a UNet that optimum-cli export onnx writes is rewritten'
  );
}
