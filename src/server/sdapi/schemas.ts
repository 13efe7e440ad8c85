import { z } from 'zod';
import { bodyField, bodyOf } from '../../pipeline/options/body.js';
import { GENERATION_OPTIONS } from '../../pipeline/options/generation.js';
import type { ServerConfig } from '../config.js';
import { requestDefaults, requestLimits } from '../openai/schemas.js';

const optional = <Schema extends z.ZodType>(schema: Schema) =>
  schema.nullish().transform((value) => value ?? undefined);

/** What tools send for a random seed. */
const RANDOM: readonly unknown[] = [-1, '-1', ''];

/**
 * A request of the tools of web UIs. They send many more fields, which are ignored.
 * Source: AUTOMATIC1111 stable-diffusion-webui, /docs of its API.
 */
export function txt2imgRequest(config: ServerConfig) {
  const limits = requestLimits(config);
  const { guidance, prompt, ...others } = GENERATION_OPTIONS;
  const defaults = requestDefaults(config);
  const fields = bodyOf(others, { limits, defaults });
  return z.object({
    prompt: optional(prompt.schema.max(limits.prompt)).transform((text) => text ?? ''),
    negative_prompt: fields.negative_prompt,
    steps: fields.steps,
    eta: fields.eta,
    cfg_scale: bodyField(guidance, limits.guidance, defaults.guidance),
    seed: z
      .preprocess((given) => (RANDOM.includes(given) ? undefined : given), bodyField(GENERATION_OPTIONS.seed))
      .describe('seed, as text if it is larger than 2^53; -1: a random one'),
    width: optional(z.int().min(1).max(100_000)).describe('width in pixels'),
    height: optional(z.int().min(1).max(100_000)).describe('height in pixels'),
    batch_size: optional(z.int().min(1).max(limits.n)).describe('images of a batch'),
    n_iter: optional(z.int().min(1).max(limits.n)).describe('batches'),
    sampler_name: optional(z.string().max(100)).describe('one of /sdapi/v1/samplers'),
    sampler_index: optional(z.string().max(100)).describe('the older name of sampler_name'),
    override_settings: optional(z.object({ sd_model_checkpoint: optional(z.string().max(200)) })),
    send_images: optional(z.boolean()),
  });
}

export type Txt2imgRequest = z.output<ReturnType<typeof txt2imgRequest>>;

export const txt2imgAnswer = z.object({
  images: z.array(z.string()).describe('PNG files as base64'),
  parameters: z.looseObject({}),
  info: z.string().describe('JSON'),
});

export const progressAnswer = z.object({
  progress: z.number().describe('0 to 1'),
  eta_relative: z.number().describe('seconds'),
  state: z.object({
    job: z.string(),
    job_count: z.int(),
    job_no: z.int(),
    sampling_step: z.int(),
    sampling_steps: z.int(),
    skipped: z.boolean(),
    interrupted: z.boolean(),
  }),
  current_image: z.string().nullable(),
  textinfo: z.string().nullable(),
});

export const samplersAnswer = z.array(
  z.object({ name: z.string(), aliases: z.array(z.string()), options: z.record(z.string(), z.string()) }),
);

export const optionsAnswer = z.object({ sd_model_checkpoint: z.string() });

export const sdModelsAnswer = z.array(
  z.object({
    title: z.string(),
    model_name: z.string(),
    hash: z.string().nullable(),
    sha256: z.string().nullable(),
    filename: z.string(),
    config: z.string().nullable(),
  }),
);
