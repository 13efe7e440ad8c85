import { concatenateWidths, zerosLike } from './conditioning.js';
import type { ModelFamily } from './family.js';
import { VAE_GREY_LEVELS } from './latentScale.js';

/** Stable Diffusion 1.x and 2.x. Source: diffusers StableDiffusionPipeline. */
export const stableDiffusion: ModelFamily = {
  id: 'sd',
  title: 'Stable Diffusion, one text encoder',
  pipelines: ['StableDiffusionPipeline', 'StableDiffusionImg2ImgPipeline'],
  textEncoders: [{ graph: 'text_encoder', tokenizer: 'tokenizer' }],
  // The pipeline sets these fields whatever the file says. Its XL counterpart does not.
  forcedScheduler: { steps_offset: 1, clip_sample: false },
  unetInputs: ['sample', 'timestep', 'encoder_hidden_states'],
  greyLevels: VAE_GREY_LEVELS,
  latentStatistics: false,
  unsupported: () => undefined,
  textOutputs: () => ({ hidden: 'last_hidden_state' }),
  condition: (encoded) => ({ encoder_hidden_states: concatenateWidths(encoded.map(({ hidden }) => hidden)) }),
  zerosForNoNegative: () => false,
  zeroed: zerosLike,
};
