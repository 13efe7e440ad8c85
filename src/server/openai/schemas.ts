import { z } from 'zod';
import { IMAGE_FORMATS } from '../../image/encode.js';
import { SAMPLER_CHOICES, SOLVERS } from '../../pipeline/options.js';
import type { ServerConfig } from '../config.js';
import { counts, srdsInfo } from '../imageInfo.js';

/** What a client may leave out, or give as null. */
const optional = <Schema extends z.ZodType>(schema: Schema) =>
  schema.nullish().transform((value) => value ?? undefined);
const withDefault = <Value extends string | number | boolean>(schema: z.ZodType<Value>, value: Value) =>
  schema.nullish().transform((given) => given ?? value);

const MAX_SEED = Number.MAX_SAFE_INTEGER;
const SEED_ERROR = 'expected a whole number from 0 on, as text if it is larger than 2^53';

/** What images are asked for. */
function requests({ maxSteps, deadline }: ServerConfig) {
  return {
    prompt: z.string().max(32_000).describe('what to draw'),
    model: optional(z.string().max(200)).describe('default: the first that is served'),
    size: withDefault(z.string().regex(/^(auto|\d{1,5}x\d{1,5})$/, 'expected auto or WIDTHxHEIGHT'), 'auto'),
    seed: optional(
      z.union([z.int().min(0).max(MAX_SEED), z.string().regex(/^\d{1,19}$/)], { error: SEED_ERROR }),
    ).describe('of the first image, text beyond 2^53; default: a random one'),
    steps: withDefault(z.int().min(1).max(maxSteps), Math.min(25, maxSteps)),
    guidance: withDefault(z.number().min(0).max(100), 5),
    negative_prompt: optional(z.string().max(32_000)),
    sampler: optional(z.enum(SAMPLER_CHOICES)).describe(
      'default: auto; srds if partial images or an option of its own is asked for',
    ),
    solver: optional(z.enum(SOLVERS)),
    tolerance: optional(z.number().min(0).max(255)).describe('grey levels'),
    blocks: optional(
      z.union([z.int().min(1).max(maxSteps), z.array(z.int().min(1)).min(1).max(maxSteps)], {
        error: 'expected a number of blocks, or a list of the steps of each',
      }),
    ),
    max_iterations: optional(z.int().min(1)),
    window: optional(z.int().min(1)),
    priority: withDefault(z.int().min(-10).max(10), 0).describe('higher goes first'),
    deadline: withDefault(z.number().min(0.1).max(deadline), deadline).describe('seconds after which to give up'),
  };
}

/** OpenAI's fields beside those. */
function openAiFields({ maxImages }: ServerConfig) {
  return {
    n: withDefault(z.int().min(1).max(maxImages), 1).describe('images'),
    output_format: withDefault(z.enum(IMAGE_FORMATS), 'png'),
    output_compression: withDefault(z.int().min(0).max(100), 100).describe('quality of JPEG and WebP'),
    response_format: withDefault(z.enum(['b64_json', 'url']), 'b64_json'),
    stream: withDefault(z.boolean(), false),
    partial_images: withDefault(z.int().min(0).max(3), 0).describe('of a stream: the coarse image, then refinements'),
    user: optional(z.string().max(512)),
    quality: optional(z.string().max(32)).describe('of no effect'),
    moderation: optional(z.string().max(32)).describe('of no effect'),
    background: optional(z.enum(['auto', 'opaque'])),
  };
}

export function generationRequest(config: ServerConfig) {
  return z.strictObject({
    ...requests(config),
    ...openAiFields(config),
    style: optional(z.string().max(32)).describe('of no effect'),
  });
}

export type GenerationRequest = z.output<ReturnType<typeof generationRequest>>;

/** What the page asks for. */
export function liveRequest(config: ServerConfig) {
  return z.strictObject(requests(config));
}

export type LiveRequest = z.output<ReturnType<typeof liveRequest>>;

/** A form has text only; what is read as numbers is checked as JSON is. */
export function editRequest(config: ServerConfig) {
  return z.strictObject({
    ...requests(config),
    ...openAiFields(config),
    image: z
      .instanceof(Uint8Array, { error: 'expected a file' })
      .describe('PNG, JPEG or WebP')
      .meta({ type: 'string', format: 'binary' }),
    strength: withDefault(z.number().positive().max(1), 0.8).describe(
      'share of the steps that are taken from the image on',
    ),
    input_fidelity: optional(z.string().max(32)).describe('of no effect'),
  });
}

export type EditRequest = z.output<ReturnType<typeof editRequest>>;

const usage = z.object({
  input_tokens: z.int().describe('tokens of the prompt'),
  input_tokens_details: z.object({ text_tokens: z.int(), image_tokens: z.int() }),
  output_tokens: z.int().describe('evaluations of the network'),
  total_tokens: z.int(),
});
export type Usage = z.output<typeof usage>;

/** Not there where there are none. */
const warnings = z.array(z.string()).optional().describe('what was asked for in vain, for one');

const about = {
  background: z.literal('opaque'),
  output_format: z.enum(IMAGE_FORMATS),
  quality: z.literal('auto'),
  size: z.string(),
};

export const imagesAnswer = z.object({
  created: z.int(),
  model: z.string(),
  data: z.array(
    z.object({
      b64_json: z.string().optional(),
      url: z.string().optional(),
      seed: z.union([z.int(), z.string()]),
      srds: srdsInfo,
    }),
  ),
  ...about,
  usage,
  warnings,
});
export type ImagesAnswer = z.output<typeof imagesAnswer>;

const event = { ...about, b64_json: z.string(), created_at: z.int(), image_index: z.int() };

/** Events of a stream. @param kind `image_generation` or `image_edit` */
export function imageEvents<Kind extends 'image_generation' | 'image_edit'>(kind: Kind) {
  return z.discriminatedUnion('type', [
    z.object({
      type: z.literal(`${kind}.partial_image`),
      ...event,
      partial_image_index: z.int(),
      srds: z.object({ iteration: z.int(), residual: z.number().nullable(), evaluations: counts }),
    }),
    z.object({
      type: z.literal(`${kind}.completed`),
      ...event,
      seed: z.union([z.int(), z.string()]),
      usage,
      warnings,
      srds: srdsInfo,
    }),
  ]);
}
