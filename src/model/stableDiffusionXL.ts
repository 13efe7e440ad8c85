import { float32 } from '../tensor/tensor.js';
import { concatenateWidths, hiddenStates, penultimateState, pooledOf, zerosLike } from './conditioning.js';
import type { ModelFamily } from './family.js';
import { wholeSteps } from './firstStep.js';
import { UNPACKED } from './latentLayout.js';
import { VAE_GREY_LEVELS } from './latentScale.js';
import { readScheduler, type SchedulerFile } from './scheduler.js';
import { unetConfig } from './unetConfig.js';

/** Stable Diffusion XL base models. Source: diffusers StableDiffusionXLPipeline. */
export const stableDiffusionXL: ModelFamily = {
  id: 'sdxl',
  title: 'Stable Diffusion XL',
  pipelines: ['StableDiffusionXLPipeline', 'StableDiffusionXLImg2ImgPipeline'],
  textEncoders: [
    { graph: 'text_encoder', tokenizer: 'tokenizer', kind: 'clip' },
    { graph: 'text_encoder_2', tokenizer: 'tokenizer_2', kind: 'clip' },
  ],
  network: 'unet',
  networkConfig: unetConfig(['sample', 'timestep', 'encoder_hidden_states', 'text_embeds', 'time_ids']),
  sampleInput: 'sample',
  networkTime: (t) => t,
  layout: UNPACKED,
  readScheduler: (folder, { scheduler }) => readScheduler(folder, {}, scheduler?.[1]),
  greyLevels: VAE_GREY_LEVELS,
  latentStatistics: true,
  // Its first VAEs overflow in float16.
  upcastsVae: true,
  unsupported: (index) => (index.requires_aesthetics_score ? 'an SDXL refiner' : undefined),
  // The hidden state before the last one, as in encode_prompt.
  textOutputs: (graph, outputs) => ({
    hidden: penultimateState(outputs),
    ...(graph === 'text_encoder_2' && { pooled: 'text_embeds' }),
  }),
  condition: (encoded, { size: { width, height } }) => ({
    encoder_hidden_states: concatenateWidths(hiddenStates(encoded)),
    text_embeds: pooledOf(encoded[1]),
    // Original size, crop and target size, each with the height first, as in _get_add_time_ids.
    time_ids: float32(Float32Array.of(height, width, 0, 0, height, width), [6]),
  }),
  guidanceOption: 'guidance',
  firstStep: wholeSteps,
  zerosForNoNegative: (index) => index.force_zeros_for_empty_prompt,
  zeroed: (conditional) => zerosLike(conditional, ['time_ids']),
  // As published with SDXL turbo; base models have another spacing.
  fewSteps: ({ scheduler }) =>
    scheduler.className === 'EulerAncestralDiscreteScheduler' && spacingOf(scheduler) === 'trailing'
      ? "its scheduler is SDXL turbo's"
      : undefined,
};

function spacingOf({ scheduleFor }: SchedulerFile): string | undefined {
  const schedule = scheduleFor('euler');
  return schedule.scheduler === 'flow' ? undefined : schedule.timestepSpacing;
}
