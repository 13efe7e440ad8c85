import { z } from 'zod';
import { float32, int64, type Tensor } from '../tensor/tensor.js';
import { pooledOf, statesOfWidth, zerosLike } from './conditioning.js';
import type { DescribedModel, ModelFamily, NetworkFacts } from './family.js';
import { startedSteps } from './firstStep.js';
import { readFlowScheduler } from './flowScheduler.js';
import { VAE_GREY_LEVELS } from './latentScale.js';
import { PACKED } from './packing.js';

/** Channels of a token for each channel of the latents. */
const CELL = 4;
/** Sides of the default image, in latents. Source: default_sample_size of FluxPipeline. */
const SAMPLE_SIZE = 128;
/** Source: __call__ and check_inputs of FluxPipeline; for schnell, its model card. */
const T5_TOKENS = { dev: 512, schnell: 256, max: 512 };

/** Inputs of the positions of tokens. */
const POSITIONS = ['img_ids', 'txt_ids'];

const positive = z.int().positive();

const networkConfig: z.ZodType<NetworkFacts> = z
  .object({
    in_channels: positive.multipleOf(CELL).default(64),
    out_channels: positive.nullish(),
    patch_size: z.literal(1, 'a patch_size other than 1 is not supported').default(1),
    joint_attention_dim: positive.default(4096),
    num_attention_heads: positive.default(24),
    attention_head_dim: positive.default(128),
    guidance_embeds: z.boolean().default(false),
  })
  .refine((c) => (c.out_channels ?? c.in_channels) === c.in_channels, {
    message: 'transformers with further input channels are not supported',
    path: ['in_channels'],
  })
  .transform((c) => ({
    latentChannels: c.in_channels / CELL,
    sampleSize: [SAMPLE_SIZE, SAMPLE_SIZE],
    latentStep: 2,
    inputs: [
      'hidden_states',
      'timestep',
      'encoder_hidden_states',
      'pooled_projections',
      ...POSITIONS,
      ...(c.guidance_embeds ? ['guidance'] : []),
    ],
    embedsGuidance: c.guidance_embeds,
    textWidth: c.joint_attention_dim,
    evenRows: false,
    levels: (latents) => [
      {
        positions: latents / CELL + T5_TOKENS.dev,
        channels: c.num_attention_heads * c.attention_head_dim,
        heads: c.num_attention_heads,
      },
    ],
  }));

/** Flux.1 dev and schnell. Source: diffusers FluxPipeline. */
export const flux: ModelFamily = {
  id: 'flux',
  title: 'Flux.1',
  pipelines: ['FluxPipeline', 'FluxImg2ImgPipeline'],
  textEncoders: [
    { graph: 'text_encoder', tokenizer: 'tokenizer', kind: 'clip' },
    { graph: 'text_encoder_2', tokenizer: 'tokenizer_2', kind: 't5' },
  ],
  network: 'transformer',
  networkConfig,
  sampleInput: 'hidden_states',
  constants: POSITIONS,
  // In float32: not always sigma again.
  networkTime: (t) => Math.fround(t / 1000),
  layout: PACKED,
  readScheduler: (folder, { scheduler }) => readFlowScheduler(folder, scheduler?.[1], 'even'),
  greyLevels: VAE_GREY_LEVELS,
  // CLIP's states are not used.
  textOutputs: (graph) => (graph === 'text_encoder' ? { pooled: 'pooler_output' } : { hidden: 'last_hidden_state' }),
  condition: ([clip, t5], { network, latents: [, height, width], guidance }) => {
    const states = statesOfWidth(t5, network.textWidth);
    return {
      encoder_hidden_states: states,
      pooled_projections: pooledOf(clip),
      img_ids: imageIds(height / 2, width / 2),
      txt_ids: int64(Array<number>(3 * states.dims[0]).fill(0), [states.dims[0], 3]),
      ...(network.embedsGuidance && { guidance: float32(Float32Array.of(guidance), []) }),
    };
  },
  guidanceOption: 'trueGuidance',
  firstStep: startedSteps,
  zerosForNoNegative: () => false,
  zeroed: zerosLike,
  defaults: (model) => (isSchnell(model) ? { steps: 4, guidance: 0 } : { steps: 28, guidance: 3.5 }),
  sequenceLength: (model) => ({ default: isSchnell(model) ? T5_TOKENS.schnell : T5_TOKENS.dev, max: T5_TOKENS.max }),
  fewSteps: (model) => (isSchnell(model) ? 'it is Flux schnell: no guidance input, no shift' : undefined),
};

/** Position of each token of an image: 0, row and column. Source: _prepare_latent_image_ids of FluxPipeline. */
function imageIds(rows: number, columns: number): Tensor {
  const ids = Array.from({ length: rows * columns }, (_, k) => [0, Math.floor(k / columns), k % columns]);
  return int64(ids.flat(), [ids.length, 3]);
}

/** Whether it is the model that was distilled to a few steps. */
function isSchnell({ network, scheduler }: Pick<DescribedModel, 'network' | 'scheduler'>): boolean {
  const schedule = scheduler.scheduleFor('euler');
  return !network.embedsGuidance && schedule.scheduler === 'flow' && !schedule.isDynamic && schedule.shift === 1;
}
