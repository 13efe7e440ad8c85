import { z } from 'zod';
import { errorBody } from './errorBody.js';
import { counts, srdsInfo } from './imageInfo.js';

/**
 * The events of `POST /srds/v1/generate`: the schema of each payload by the event's name. This module depends on zod only, so that
 * the web page can import its types.
 */
export const generateEvents = {
  queued: z.object({ waiting: z.int() }).describe('queued: the number of requests that wait'),
  started: z.object({ model: z.string(), queueSeconds: z.number() }).describe('started'),
  batch: z
    .object({
      begin: z.number(),
      end: z.number(),
      rows: z.int(),
      evaluations: z.array(z.tuple([z.int(), z.int(), z.int()])),
    })
    .describe('batch: milliseconds since the first batch began; each evaluation as iteration, block, step'),
  iteration: z
    .object({ iteration: z.int(), residual: z.number().nullable(), evaluations: counts, ms: z.number() })
    .describe(
      'iteration: the residual in grey levels, null for the coarse image; milliseconds since the first batch began',
    ),
  preview: z.object({ iteration: z.int(), image: z.string() }).describe('preview: a WebP file as base64'),
  warning: z.object({ message: z.string() }).describe('warning'),
  done: srdsInfo
    .extend({
      image: z.string(),
      seed: z.union([z.int(), z.string()]),
      parameters: z.string(),
      seconds: z.number(),
      reason: z.string().nullable(),
    })
    .describe('done: a PNG file as base64'),
  error: errorBody.describe('error: the last event of a request that failed'),
};

/** The payload of each event by its name. */
export type GenerateEvents = { [Name in keyof typeof generateEvents]: z.output<(typeof generateEvents)[Name]> };
