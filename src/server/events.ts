import { z } from 'zod';
import { errorBody } from './errorBody.js';
import { counts, srdsInfo } from './imageInfo.js';

/**
 * The events of `POST /srds/v1/generate`: the schema of each payload by the event's name. This module depends on zod only, so that
 * the web page can import its types.
 */
export const generateEvents = {
  queued: z.object({ ahead: z.int() }).describe('queued: the number of requests that go before this one'),
  started: z.object({ model: z.string(), queueSeconds: z.number() }).describe('started'),
  phase: z
    .object({ phase: z.string(), evaluations: z.number().nullable() })
    .describe(
      'phase: the part of the work that begins: preparing, measuring, planning, sampling, decoding; with sampling the evaluations of an image to expect, null: not known',
    ),
  plan: z
    .object({
      sampler: z.string(),
      reason: z.string().nullable(),
      serialEvaluations: z.int(),
      seconds: z.number().nullable(),
      serialSeconds: z.number().nullable(),
    })
    .describe(
      'plan: the sampler, why auto chose it, evaluations of the serial sampler, and the forecast of the seconds of both; null: not known',
    ),
  batch: z
    .object({
      begin: z.number(),
      end: z.number(),
      rows: z.int(),
      evaluations: z.array(z.tuple([z.int(), z.int(), z.int(), z.int()])),
    })
    .describe('batch: milliseconds since the first batch began; each evaluation as iteration, block, step, image'),
  iteration: z
    .object({
      index: z.int(),
      iteration: z.int(),
      residual: z.number().nullable(),
      evaluations: counts,
      ms: z.number(),
    })
    .describe(
      'iteration of the image `index`: the residual in grey levels, null for the coarse image; milliseconds since the first batch began',
    ),
  preview: z
    .object({ index: z.int(), iteration: z.int(), image: z.string() })
    .describe('preview of the image `index`: a WebP file as base64'),
  warning: z.object({ message: z.string() }).describe('warning'),
  image: srdsInfo
    .extend({
      index: z.int(),
      image: z.string(),
      seed: z.union([z.int(), z.string()]),
      parameters: z.string(),
    })
    .describe('image `index`, complete: a PNG file as base64'),
  done: z
    .object({ seconds: z.number(), serialSeconds: z.number().nullable() })
    .describe(
      'done: the seconds of all images together, and an estimate of those of the serial sampler; null: not known',
    ),
  error: errorBody.describe('error: the last event of a request that failed'),
};

/** The payload of each event by its name. */
export type GenerateEvents = { [Name in keyof typeof generateEvents]: z.output<(typeof generateEvents)[Name]> };
