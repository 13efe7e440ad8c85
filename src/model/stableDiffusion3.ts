import { z } from 'zod';
import { float32, type Tensor } from '../tensor/tensor.js';
import {
  concatenateWidths,
  hiddenStates,
  penultimateState,
  pooledOf,
  statesOfWidth,
  zerosLike,
} from './conditioning.js';
import type { ModelFamily, NetworkFacts } from './family.js';
import { readFlowScheduler } from './flowScheduler.js';
import { startedSteps } from './firstStep.js';
import { UNPACKED } from './latentLayout.js';
import { VAE_GREY_LEVELS } from './latentScale.js';

/** Tokens of a CLIP text encoder. */
const CLIP_TOKENS = 77;
/** Source: __call__ and check_inputs of StableDiffusion3Pipeline. */
const T5_TOKENS = { default: 256, max: 512 };

const positive = z.int().positive();

const networkConfig: z.ZodType<NetworkFacts> = z
  .object({
    in_channels: positive.default(16),
    out_channels: positive.nullish(),
    patch_size: positive.default(2),
    sample_size: positive.default(128),
    pos_embed_max_size: positive.default(96),
    joint_attention_dim: positive.default(4096),
    num_attention_heads: positive.default(18),
    attention_head_dim: positive.default(64),
  })
  .refine((c) => (c.out_channels ?? c.in_channels) === c.in_channels, {
    message: 'transformers with further input channels are not supported',
    path: ['in_channels'],
  })
  .transform((c) => ({
    latentChannels: c.in_channels,
    sampleSize: [c.sample_size, c.sample_size],
    latentStep: c.patch_size,
    maxLatents: c.pos_embed_max_size * c.patch_size,
    inputs: ['hidden_states', 'timestep', 'encoder_hidden_states', 'pooled_projections'],
    embedsGuidance: false,
    textWidth: c.joint_attention_dim,
    evenRows: false,
    levels: (latents) => [
      {
        positions: latents / c.patch_size ** 2 + CLIP_TOKENS + T5_TOKENS.default,
        channels: c.num_attention_heads * c.attention_head_dim,
        heads: c.num_attention_heads,
      },
    ],
  }));

/** Stable Diffusion 3 and 3.5. Source: diffusers StableDiffusion3Pipeline. */
export const stableDiffusion3: ModelFamily = {
  id: 'sd3',
  title: 'Stable Diffusion 3',
  pipelines: ['StableDiffusion3Pipeline', 'StableDiffusion3Img2ImgPipeline'],
  textEncoders: [
    { graph: 'text_encoder', tokenizer: 'tokenizer', kind: 'clip' },
    { graph: 'text_encoder_2', tokenizer: 'tokenizer_2', kind: 'clip' },
    // Without it the pipeline takes zeros for its states.
    {
      graph: 'text_encoder_3',
      tokenizer: 'tokenizer_3',
      kind: 't5',
      isAbsent: ({ text_encoder_3 }) => text_encoder_3?.[1] == null,
    },
  ],
  network: 'transformer',
  networkConfig,
  sampleInput: 'hidden_states',
  networkTime: (t) => t,
  layout: UNPACKED,
  readScheduler: (folder, { scheduler }) => readFlowScheduler(folder, scheduler?.[1], 'training'),
  greyLevels: VAE_GREY_LEVELS,
  textOutputs: (graph, outputs) =>
    graph === 'text_encoder_3'
      ? { hidden: 'last_hidden_state' }
      : { hidden: penultimateState(outputs), pooled: 'text_embeds' },
  condition: ([first, second, third], { network, sequenceLength = T5_TOKENS.default }) => {
    const clip = concatenateWidths(hiddenStates([first, second]));
    const width = network.textWidth ?? clip.dims[1];
    const zeros = () => float32(new Float32Array(sequenceLength * width), [sequenceLength, width]);
    return {
      encoder_hidden_states: stacked([clip, third ? statesOfWidth(third, width) : zeros()], width),
      pooled_projections: joined([pooledOf(first), pooledOf(second)]),
    };
  },
  guidanceOption: 'guidance',
  firstStep: startedSteps,
  zerosForNoNegative: () => false,
  zeroed: zerosLike,
  defaults: () => ({ steps: 28, guidance: 7 }),
  sequenceLength: () => T5_TOKENS,
  clipRows: CLIP_TOKENS,
};

/**
 * States one below the other, each padded with zeros to a width, or cut to it. Source: encode_prompt of StableDiffusion3Pipeline,
 * whose padding of wider states is negative.
 * @param states each [positions, any width]
 * @returns [sum of positions, width]
 */
function stacked(states: readonly Tensor[], width: number): Tensor {
  const positions = states.reduce((sum, { dims }) => sum + dims[0], 0);
  const rows = new Float32Array(positions * width);
  let row = 0;
  for (const { data, dims } of states) {
    const kept = Math.min(dims[1], width);
    for (let k = 0; k < dims[0]; k++, row++) {
      rows.set((data as Float32Array).subarray(k * dims[1], k * dims[1] + kept), row * width);
    }
  }
  return float32(rows, [positions, width]);
}

function joined(vectors: readonly Tensor[]): Tensor {
  const values = vectors.flatMap(({ data }) => [...(data as Float32Array)]);
  return float32(Float32Array.from(values), [values.length]);
}
