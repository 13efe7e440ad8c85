import { z } from 'zod';
import type { ServerConfig } from '../config.js';

const optional = <Schema extends z.ZodType>(schema: Schema) =>
  schema.nullish().transform((value) => value ?? undefined);

/**
 * A request of web UIs' tools. They send many fields more, which are left unread.
 * Source: AUTOMATIC1111 stable-diffusion-webui, /docs of its API.
 */
export function txt2imgRequest({ maxSteps, maxImages }: ServerConfig) {
  const count = z.int().min(1).max(maxImages);
  return z.object({
    prompt: z
      .string()
      .max(32_000)
      .nullish()
      .transform((text) => text ?? ''),
    negative_prompt: optional(z.string().max(32_000)),
    seed: optional(z.int().min(-1).max(Number.MAX_SAFE_INTEGER)).describe('-1: a random one'),
    steps: optional(z.int().min(1).max(maxSteps)).describe('default: 25'),
    cfg_scale: optional(z.number().min(0).max(100)).describe('default: 5'),
    width: optional(z.int().min(1).max(100_000)),
    height: optional(z.int().min(1).max(100_000)),
    batch_size: optional(count),
    n_iter: optional(count),
    sampler_name: optional(z.string().max(100)).describe('one of /sdapi/v1/samplers'),
    sampler_index: optional(z.string().max(100)).describe('the same, of old'),
    eta: optional(z.number().min(0).max(1)),
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
