import { z } from 'zod';
import { bodyField, bodyOf } from '../../pipeline/options/body.js';
import { GENERATION_OPTIONS } from '../../pipeline/options/generation.js';
import type { ServerConfig } from '../config.js';
import { requestDefaults, requestLimits } from '../openai/schemas.js';
import { withRest } from '../rest.js';

const optional = <Schema extends z.ZodType>(schema: Schema) =>
  schema.nullish().transform((value) => value ?? undefined);
const name = () => optional(z.string().max(200));

/** A field of JSON that some tools send as an empty text. */
const orEmpty = (schema: z.ZodType<bigint | number | undefined>) =>
  z.preprocess((given) => (given === '' ? undefined : given), schema);

/** Strength of web UIs where a request gives none. */
const DEFAULT_STRENGTH = 0.75;

function fieldsOf(config: ServerConfig) {
  const limits = requestLimits(config);
  const { guidance, prompt, seed, ...others } = GENERATION_OPTIONS;
  const defaults = requestDefaults(config);
  const fields = bodyOf(others, { limits, defaults });
  return {
    prompt: optional(prompt.schema.max(limits.prompt)).transform((text) => text ?? ''),
    negative_prompt: fields.negative_prompt,
    steps: fields.steps,
    eta: optional(z.number().min(0).max(1)).describe('noise that DDIM adds'),
    cfg_scale: bodyField(guidance, limits.guidance, defaults.guidance),
    seed: orEmpty(bodyField(seed, undefined, defaults.seed)).describe(
      'seed, as text if it is larger than 2^53; -1, the default: a random one',
    ),
    width: optional(z.int().min(1).max(100_000)).describe('width in pixels'),
    height: optional(z.int().min(1).max(100_000)).describe('height in pixels'),
    batch_size: optional(z.int().min(1).max(limits.n)).describe('images of a batch'),
    n_iter: optional(z.int().min(1).max(limits.n)).describe('batches'),
    sampler_name: name().describe('one of /sdapi/v1/samplers, or another one, for which the nearest stands in'),
    sampler_index: name().describe('the older name of sampler_name'),
    scheduler: name().describe('one of /sdapi/v1/schedulers'),
    override_settings: optional(withRest({ sd_model_checkpoint: name() })),
    send_images: optional(z.boolean()),
    strict: optional(z.boolean()).describe('refuse the request if it cannot be met in full'),
  };
}

/**
 * A request of the tools of web UIs. They send many more fields; those that ask for something are named in the answer.
 * Source: AUTOMATIC1111 stable-diffusion-webui, /docs of its API.
 */
export function txt2imgRequest(config: ServerConfig) {
  return withRest(fieldsOf(config));
}

export type Txt2imgRequest = z.output<ReturnType<typeof txt2imgRequest>>;

/** Such a request with an initial image. */
export function img2imgRequest(config: ServerConfig) {
  return withRest({
    ...fieldsOf(config),
    init_images: z.array(z.string()).min(1).describe('PNG, JPEG or WebP in base64; of several, the first'),
    denoising_strength: z
      .number()
      .min(0)
      .max(1)
      .nullish()
      .transform((given) => given ?? DEFAULT_STRENGTH)
      .describe(`share of the steps that are taken from the image on (default: ${DEFAULT_STRENGTH})`),
    mask: optional(z.string()).describe('image in base64 whose white pixels are repainted; the others stay'),
    inpainting_mask_invert: optional(z.union([z.boolean(), z.literal([0, 1])])).describe(
      'repaint the black pixels of the mask instead',
    ),
    inpainting_fill: optional(z.int()).describe('1: from the image itself; others are not here'),
  });
}

export type Img2imgRequest = z.output<ReturnType<typeof img2imgRequest>>;

export const imagesAnswer = z.object({
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
  current_image: z.string().nullable().describe('the image so far, a PNG file as base64'),
  textinfo: z.string().nullable(),
});

export const samplersAnswer = z.array(
  z.object({ name: z.string(), aliases: z.array(z.string()), options: z.record(z.string(), z.string()) }),
);

export const schedulersAnswer = z.array(
  z.object({
    name: z.string(),
    label: z.string(),
    aliases: z.array(z.string()).nullable(),
    default_rho: z.number(),
    need_inner_model: z.boolean(),
  }),
);

/** The options of a web UI; all but the model are constant. */
export const optionsAnswer = z.object({
  sd_model_checkpoint: z.string(),
  sd_checkpoint_hash: z.string(),
  sd_vae: z.string(),
  samples_format: z.string(),
  CLIP_stop_at_last_layers: z.int(),
});

/** Clients send back all options that they have read. */
export const optionsRequest = z.object({ sd_model_checkpoint: name().describe('the model for later requests') });

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

export const pngInfoRequest = z.object({ image: z.string().describe('an image in base64') });

export const pngInfoAnswer = z.object({
  info: z.string(),
  items: z.record(z.string(), z.string()),
  parameters: z.record(z.string(), z.string()),
});

const bytes = z.object({ free: z.int(), used: z.int(), total: z.int() });
export const memoryAnswer = z.object({ ram: bytes, cuda: z.object({ error: z.string() }) });
