import type { Batcher } from '../engine/batcher.js';
import type { Engine, GraphInfo } from '../engine/engine.js';
import { SrdsError } from '../errors.js';
import { float32, int64, type Tensor } from '../tensor/tensor.js';
import { toRgb, type RgbImage } from './image.js';
import type { GraphName, ModelFolder } from './modelFolder.js';

const INPUT_TYPES: readonly string[] = ['float32', 'int32', 'int64'];

/** The previews that decide when to stop go before all else. */
const FIRST = [-1];

/** The networks of a Stable Diffusion folder on an engine, by what they mean. */
export class Networks {
  readonly unetOutput: string;
  private readonly textOutput = 'last_hidden_state';
  private readonly vaeInput: string;
  private readonly vaeOutput: string;

  /** @throws SrdsError MODEL_INVALID if a graph does not take or give what Stable Diffusion's does */
  constructor(
    private readonly model: ModelFolder,
    engine: Engine,
    private readonly batcher: Batcher,
  ) {
    const unet = graphOf(engine, model, 'unet', ['sample', 'timestep', 'encoder_hidden_states']);
    const text = graphOf(engine, model, 'text_encoder', ['input_ids']);
    const vae = graphOf(engine, model, 'vae_decoder');
    if (!text.outputs.some(({ name }) => name === this.textOutput)) {
      throw unusable(model, 'text_encoder', `an output ${this.textOutput}`, namesOf(text.outputs));
    }
    this.unetOutput = unet.outputs[0].name;
    this.vaeInput = vae.inputs[0].name;
    this.vaeOutput = vae.outputs[0].name;
  }

  /**
   * The text encoder's last hidden state.
   * @param ids token ids, [positions]
   * @returns [positions, width]
   */
  async encodeText(ids: readonly number[], signal: AbortSignal): Promise<Tensor> {
    const inputs = { input_ids: int64(ids, [ids.length]) };
    const [hidden] = await this.batcher.evaluate(
      { graph: 'text_encoder', output: this.textOutput, inputs },
      FIRST,
      signal,
    );
    return float32(hidden, [ids.length, hidden.length / ids.length]);
  }

  /**
   * The image of latents.
   * @param latents [channels, height / factor, width / factor], as the sampler ends with
   * @param width of the image, in pixels
   */
  async decode(latents: Float32Array, width: number, height: number, signal: AbortSignal): Promise<RgbImage> {
    const { latentChannels, vaeFactor, scalingFactor } = this.model;
    if (!latents.every(Number.isFinite)) {
      throw new SrdsError(
        'ENGINE_FAILED',
        'finite latents',
        'infinite ones or none',
        'try another guidance scale; if that does not help, the model is damaged',
      );
    }
    const dims = [latentChannels, height / vaeFactor, width / vaeFactor];
    const scaled = latents.map((value) => value / scalingFactor);
    const [decoded] = await this.batcher.evaluate(
      { graph: 'vae_decoder', output: this.vaeOutput, inputs: { [this.vaeInput]: float32(scaled, dims) } },
      FIRST,
      signal,
    );
    return toRgb(decoded, width, height);
  }
}

function graphOf(engine: Engine, model: ModelFolder, name: GraphName, inputs?: readonly string[]): GraphInfo {
  const info = engine.graphs.get(name);
  if (!info) throw unusable(model, name, 'a graph that is loaded', 'none');
  const names = info.inputs.map((input) => input.name);
  if (inputs ? names.length !== inputs.length || !inputs.every((input) => names.includes(input)) : names.length !== 1) {
    throw unusable(model, name, inputs ? `the inputs ${inputs.join(', ')}` : 'one input', namesOf(info.inputs));
  }
  if (info.outputs.length === 0) throw unusable(model, name, 'an output', 'none');
  const odd =
    info.inputs.find(({ type }) => !INPUT_TYPES.includes(type)) ?? info.outputs.find(({ type }) => type !== 'float32');
  if (odd) throw unusable(model, name, 'float32 arithmetic', `${odd.name} of type ${odd.type}`);
  return info;
}

function namesOf(values: GraphInfo['inputs']): string {
  return values.map(({ name }) => name).join(', ') || 'none';
}

function unusable(model: ModelFolder, graph: GraphName, expected: string, found: string): SrdsError {
  return new SrdsError(
    'MODEL_INVALID',
    `${expected} in ${model.graphs[graph]}`,
    found,
    'export a Stable Diffusion 1.x or 2.x model with Optimum, in float32',
  );
}
