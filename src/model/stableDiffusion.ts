import { concatenateWidths, hiddenStates, zerosLike } from './conditioning.js';
import type { ModelFamily } from './family.js';
import { wholeSteps } from './firstStep.js';
import { UNPACKED } from './latentLayout.js';
import { VAE_GREY_LEVELS } from './latentScale.js';
import { readScheduler } from './scheduler.js';
import { unetConfig } from './unetConfig.js';

/** Stable Diffusion 1.x and 2.x. Source: diffusers StableDiffusionPipeline. */
export const stableDiffusion: ModelFamily = {
  id: 'sd',
  title: 'Stable Diffusion',
  pipelines: ['StableDiffusionPipeline', 'StableDiffusionImg2ImgPipeline'],
  textEncoders: [{ graph: 'text_encoder', tokenizer: 'tokenizer', kind: 'clip' }],
  network: 'unet',
  networkConfig: unetConfig(['sample', 'timestep', 'encoder_hidden_states']),
  sampleInput: 'sample',
  networkTime: (t) => t,
  layout: UNPACKED,
  // The pipeline sets these fields whatever the file says. Its XL counterpart does not.
  readScheduler: (folder, { scheduler }) =>
    readScheduler(folder, { steps_offset: 1, clip_sample: false }, scheduler?.[1]),
  greyLevels: VAE_GREY_LEVELS,
  textOutputs: () => ({ hidden: 'last_hidden_state' }),
  condition: (encoded) => ({ encoder_hidden_states: concatenateWidths(hiddenStates(encoded)) }),
  guidanceOption: 'guidance',
  firstStep: wholeSteps,
  zerosForNoNegative: () => false,
  zeroed: zerosLike,
};
