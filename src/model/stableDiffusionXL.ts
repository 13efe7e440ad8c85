import { float32 } from '../tensor/tensor.js';
import { concatenateWidths, zerosLike } from './conditioning.js';
import type { ModelFamily } from './family.js';
import { VAE_GREY_LEVELS } from './latentScale.js';

const HIDDEN_STATE = /^hidden_states\.(\d+)$/;

/** Stable Diffusion XL base models. Source: diffusers StableDiffusionXLPipeline. */
export const stableDiffusionXL: ModelFamily = {
  id: 'sdxl',
  title: 'Stable Diffusion XL, two text encoders',
  pipelines: ['StableDiffusionXLPipeline', 'StableDiffusionXLImg2ImgPipeline'],
  textEncoders: [
    { graph: 'text_encoder', tokenizer: 'tokenizer' },
    { graph: 'text_encoder_2', tokenizer: 'tokenizer_2' },
  ],
  forcedScheduler: {},
  unetInputs: ['sample', 'timestep', 'encoder_hidden_states', 'text_embeds', 'time_ids'],
  greyLevels: VAE_GREY_LEVELS,
  latentStatistics: true,
  unsupported: (index) => (index.requires_aesthetics_score ? 'an SDXL refiner' : undefined),
  // The hidden state before the last one, as in encode_prompt.
  textOutputs: (graph, outputs) => {
    const layers = outputs.flatMap((name) => HIDDEN_STATE.exec(name)?.[1] ?? []).map(Number);
    const hidden = `hidden_states.${Math.max(1, ...layers) - 1}`;
    return graph === 'text_encoder_2' ? { hidden, pooled: 'text_embeds' } : { hidden };
  },
  condition: (encoded, { width, height }) => ({
    encoder_hidden_states: concatenateWidths(encoded.map(({ hidden }) => hidden)),
    text_embeds: encoded[encoded.length - 1].pooled ?? float32(new Float32Array(0), [0]),
    // Original size, crop and target size, each with the height first, as in _get_add_time_ids.
    time_ids: float32(Float32Array.of(height, width, 0, 0, height, width), [6]),
  }),
  zerosForNoNegative: (index) => index.force_zeros_for_empty_prompt,
  zeroed: (conditional) => zerosLike(conditional, ['time_ids']),
};
