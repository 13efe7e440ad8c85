import { z } from 'zod';
import { formControl } from './formControl.js';

/**
 * The answer of `GET /srds/v1/info`. Sizes are in pixels; `pixels` is the area of the largest image that may be requested. This module
 * depends on zod only, so that the web page can import its type.
 */
export const infoAnswer = z.object({
  version: z.string(),
  models: z.array(
    z.object({
      name: z.string(),
      width: z.int(),
      height: z.int(),
      pixels: z.int(),
      sizeStep: z.int().describe('sizes are multiples of it'),
      imageToImage: z.boolean().describe('whether it takes an initial image and a mask'),
      initial: z.object({ steps: z.int(), guidance: z.number() }).describe('what a form starts with for this model'),
    }),
  ),
  samplers: z.array(z.string()),
  solvers: z.array(
    z.object({ name: z.string(), title: z.string().describe('the name that Stable Diffusion web UIs give it') }),
  ),
  limits: z.object({ steps: z.int() }),
  form: z.array(formControl).describe('controls of a form for the options that the page shows'),
});

/** The answer of `POST /srds/v1/forecast`. */
export const forecastAnswer = z.object({
  forecast: z
    .object({
      sampler: z.string().describe('what auto would choose'),
      reason: z.string().nullable().describe('why, in words'),
      seconds: z.number().describe('of sampling'),
      serialSeconds: z.number().describe('the same with the serial sampler'),
    })
    .nullable()
    .describe('null where nothing is known of the devices'),
});

export type ForecastAnswer = z.output<typeof forecastAnswer>;

export type Info = z.output<typeof infoAnswer>;
