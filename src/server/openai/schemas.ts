import { z } from 'zod';
import { IMAGE_FORMATS } from '../../image/encode.js';
import { bodyOf } from '../../pipeline/options/body.js';
import { GENERATION_OPTIONS } from '../../pipeline/options/generation.js';
import { without } from '../../pipeline/options/option.js';
import type { ServerConfig } from '../config.js';
import { counts, srdsInfo } from '../imageInfo.js';
import { withRest } from '../rest.js';

/** A field that may be left out, or null. */
const optional = <Schema extends z.ZodType>(schema: Schema) =>
  schema.nullish().transform((value) => value ?? undefined);
const withDefault = <Value extends string | number | boolean>(schema: z.ZodType<Value>, value: Value) =>
  schema.nullish().transform((given) => given ?? value);

/** Longest text of a request in characters, and largest values that clients may send. */
const MAX_TEXT = 32_000;
const MAX_GUIDANCE = 100;
const MAX_TOLERANCE = 255;

/** What a server allows a request, by option. */
export function requestLimits({ maxSteps, maxImages }: LimitSettings) {
  return {
    prompt: MAX_TEXT,
    negativePrompt: MAX_TEXT,
    prompt2: MAX_TEXT,
    prompt3: MAX_TEXT,
    guidance: MAX_GUIDANCE,
    trueGuidance: MAX_GUIDANCE,
    tolerance: MAX_TOLERANCE,
    steps: maxSteps,
    blocks: maxSteps,
    n: maxImages,
  };
}

/** The defaults of requests: the server's own settings. Without a number of steps, that of the model is taken (`withSteps`). */
export function requestDefaults({ requests }: LimitSettings) {
  return { ...requests, n: requests.n ?? GENERATION_OPTIONS.n.default };
}

/** The settings of a server that its requests depend on. */
type LimitSettings = Pick<ServerConfig, 'maxSteps' | 'maxImages' | 'requests' | 'deadline' | 'strict'>;

/** The fields of a generation, and of its place in the queue. */
function requestFields(config: LimitSettings) {
  const { deadline, strict } = config;
  return {
    ...bodyOf(GENERATION_OPTIONS, { limits: requestLimits(config), defaults: requestDefaults(config) }),
    model: optional(z.string().max(200)).describe('name of the model (default: the first that is served)'),
    priority: withDefault(z.int().min(-10).max(10), 0).describe('priority; higher goes first'),
    deadline: withDefault(z.number().min(0.1).max(deadline), deadline).describe('seconds after which to give up'),
    strict: withDefault(z.boolean(), strict).describe('refuse the request if it cannot be met in full'),
  };
}

/** OpenAI's further fields. */
function openAiFields() {
  return {
    output_format: withDefault(z.enum(IMAGE_FORMATS), 'png'),
    output_compression: withDefault(z.int().min(0).max(100), 100).describe('quality of JPEG and WebP'),
    response_format: optional(z.enum(['b64_json', 'url'])).describe(
      'default: url for dall-e-2 and dall-e-3, else b64_json',
    ),
    stream: withDefault(z.boolean(), false),
    partial_images: withDefault(z.int().min(0).max(3), 0).describe(
      'partial images of a stream: the coarse image, then refinements',
    ),
    user: optional(z.string().max(512)),
    quality: withoutEffect(),
    moderation: withoutEffect(),
    background: withoutEffect(),
  };
}

/** A field that clients send and this server does nothing with. */
const withoutEffect = () => optional(z.string().max(32)).describe('has no effect');

/** The body of /v1/images/generations. */
export function generationRequest(config: LimitSettings) {
  return withRest({
    ...without(requestFields(config), 'strength'),
    ...openAiFields(),
    style: withoutEffect(),
  });
}

export type GenerationRequest = z.output<ReturnType<typeof generationRequest>>;

/** A file in JSON. */
const base64File = () =>
  z
    .base64({ error: 'expected a file as base64' })
    .transform((text): Uint8Array => new Uint8Array(Buffer.from(text, 'base64')));

/** The body of /srds/v1/generate. */
export function liveRequest(config: LimitSettings) {
  return z
    .strictObject({
      ...requestFields(config),
      image: optional(base64File()).describe('initial image: PNG, JPEG or WebP as base64'),
      mask: optional(base64File()).describe('PNG or WebP as base64, whose transparent pixels are repainted'),
    })
    .refine(({ image, mask }) => mask === undefined || image !== undefined, {
      error: 'expected an image for the mask',
      path: ['mask'],
    });
}

export type LiveRequest = z.output<ReturnType<typeof liveRequest>>;

const file = () => z.instanceof(Uint8Array, { error: 'expected a file' }).meta({ type: 'string', format: 'binary' });

/** The body of /v1/images/edits, a form. */
export function editRequest(config: LimitSettings) {
  return withRest({
    ...requestFields(config),
    ...openAiFields(),
    image: z
      .union([file(), z.array(file()).min(1)], { error: 'expected an image file' })
      .transform((given) => [given].flat())
      .describe(
        'PNG, JPEG or WebP; of several, the first. Without a mask, its transparent pixels are repainted, if it has any',
      ),
    mask: optional(file()).describe('PNG or WebP whose transparent pixels are repainted; the others stay'),
    input_fidelity: withoutEffect(),
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

/** Absent if there are none. */
const warnings = z
  .array(z.string())
  .optional()
  .describe('warnings, such as options that had no effect, or load that may have changed the image');

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

/** The events of a stream. @param kind `image_generation` or `image_edit` */
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
