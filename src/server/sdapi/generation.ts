import type { z } from 'zod';
import { pngParameters } from '../../pipeline/pngParameters.js';
import { RANDOM_SEED, SAMPLER_NAMES, withSides } from '../../pipeline/options/generation.js';
import type { GenerateOptions } from '../../pipeline/options.js';
import { without } from '../../pipeline/options/option.js';
import { version } from '../../version.js';
import { ApiError } from '../apiError.js';
import { ignored, type Concession } from '../concession.js';
import type { Caller } from '../endpoint.js';
import { generate, type GenerateJob, type GenerationResult } from '../generate.js';
import type { ServedModel } from '../models.js';
import { fileOf, jsonSeed } from '../openai/answers.js';
import type { Services } from '../services.js';
import type { ChosenModels } from './chosenModels.js';
import { ignoredFields } from './ignoredFields.js';
import { decodeInputs, fileFrom } from './inputs.js';
import { namedSampler } from './samplerNames.js';
import type { imagesAnswer, Img2imgRequest, Txt2imgRequest } from './schemas.js';

const PNG = { output_format: 'png', output_compression: 100 } as const;

/** Fields that answers do not repeat. */
const UNSHOWN: readonly string[] = ['rest', 'override_settings', 'init_images', 'mask'];

/** Text to image. */
export async function txt2img(
  services: Services,
  chosen: ChosenModels,
  body: Txt2imgRequest,
  caller: Caller,
): Promise<Response> {
  const model = modelOf(chosen, body, caller);
  return answer(services, { model, body, caller, concessions: concessionsOf(body) });
}

/** Image to image, with a mask or without one. */
export async function img2img(
  services: Services,
  chosen: ChosenModels,
  body: Img2imgRequest,
  caller: Caller,
): Promise<Response> {
  const model = modelOf(chosen, body, caller);
  const { init_images: given, mask, inpainting_mask_invert: invert, inpainting_fill: fill, denoising_strength } = body;
  const files = {
    image: fileFrom(given[0], 'image'),
    mask: mask === undefined ? undefined : fileFrom(mask, 'mask'),
    invert: Boolean(invert),
  };
  const concessions = [
    ...(given.length > 1 ? [{ param: 'init_images', warning: `of ${given.length} images, the first is used` }] : []),
    ...(mask !== undefined && fill !== undefined && fill !== 1 ? [ignored('inpainting_fill', String(fill))] : []),
    ...concessionsOf(body),
  ];
  const init = async () => ({ ...(await decodeInputs(files)), strength: denoising_strength });
  return answer(services, { model, body, caller, concessions, init });
}

function modelOf(chosen: ChosenModels, { override_settings }: Txt2imgRequest, { key }: Caller): ServedModel {
  return chosen.find(key, override_settings?.sd_model_checkpoint);
}

function concessionsOf({ rest, override_settings, ...known }: Txt2imgRequest): Concession[] {
  const settings = override_settings?.rest ?? new Map<string, unknown>();
  return [...ignoredFields(rest, known), ...ignoredFields(settings, {}, 'override_settings.')];
}

/** A request, read. */
interface Generation extends Pick<GenerateJob, 'init' | 'concessions'> {
  readonly model: ServedModel;
  readonly body: Txt2imgRequest;
  readonly caller: Caller;
}

async function answer(services: Services, { model, body, caller, concessions, init }: Generation): Promise<Response> {
  const { config } = services;
  const sampler = namedSampler(body, model, config.requests);
  const generation = await generate(
    services,
    {
      id: caller.id,
      model: model.name,
      options: { ...optionsOf(services, body, init !== undefined), ...sampler.options },
      ...(init && { init }),
      concessions: [...sampler.concessions, ...concessions],
      strict: body.strict ?? config.strict,
      interruptible: true,
      key: caller.key,
      priority: 0,
      deadlineSeconds: config.deadline,
      client: caller.signal,
    },
    () => undefined,
  );
  const files =
    body.send_images === false
      ? []
      : await Promise.all(generation.images.map((image) => fileOf(image, generation, PNG)));
  const [seed] = generation.result.settings.seeds;
  const shown = Object.entries(body).filter(([name]) => !UNSHOWN.includes(name));
  return Response.json({
    images: files.map((file) => file.toString('base64')),
    parameters: { ...Object.fromEntries(shown), seed: jsonSeed(seed) },
    info: JSON.stringify(infoOf(generation, body.batch_size ?? 1)),
  } satisfies z.output<typeof imagesAnswer>);
}

/** @param hasInit whether an initial image gives the size where the request does not */
function optionsOf({ config }: Services, body: Txt2imgRequest, hasInit: boolean): GenerateOptions {
  const { maxImages, requests } = config;
  const { width, height, ...defaults } = withSides(without(requests, 'strength', 'eta'));
  const n = (body.batch_size ?? 1) * (body.n_iter ?? 1);
  if (n > maxImages) {
    const message = `expected at most ${maxImages} images, found ${n}; request fewer`;
    throw new ApiError(400, 'invalid_parameter', message, 'n_iter');
  }
  return {
    ...defaults,
    prompt: body.prompt,
    // Tools always send it. Without one, most SDXL models take no prompt at all instead of an empty one.
    negativePrompt: body.negative_prompt === '' ? undefined : body.negative_prompt,
    seed: body.seed ?? RANDOM_SEED,
    n,
    steps: body.steps,
    guidance: body.cfg_scale,
    width: body.width ?? (hasInit ? undefined : width),
    height: body.height ?? (hasInit ? undefined : height),
    sampler: requests.sampler ?? 'auto',
    previews: false,
  };
}

/** What web UIs say of a generation. Their clients check that every field is there. */
function infoOf({ result, images, model, warnings }: GenerationResult, batchSize: number): object {
  const { settings } = result;
  const { prompt, negativePrompt, width, height, steps, guidance, strength, mask } = settings;
  const negative = negativePrompt ?? '';
  return {
    prompt,
    all_prompts: images.map(() => prompt),
    negative_prompt: negative,
    all_negative_prompts: images.map(() => negative),
    seed: jsonSeed(settings.seeds[0]),
    all_seeds: images.map(({ seed }) => jsonSeed(seed)),
    subseed: 0,
    all_subseeds: images.map(() => 0),
    subseed_strength: 0,
    seed_resize_from_w: 0,
    seed_resize_from_h: 0,
    width,
    height,
    sampler_name: SAMPLER_NAMES[settings.solver],
    cfg_scale: guidance,
    steps,
    batch_size: batchSize,
    restore_faces: false,
    face_restoration_model: null,
    sd_model_name: model.name,
    sd_model_hash: '',
    sd_vae_name: null,
    sd_vae_hash: null,
    denoising_strength: strength ?? null,
    extra_generation_params: {},
    index_of_first_image: 0,
    infotexts: images.map((image) => pngParameters(image, settings, model.name)),
    styles: [],
    job_timestamp: timestamp(new Date()),
    clip_skip: 1,
    is_using_inpainting_conditioning: mask !== undefined,
    version: `srds ${version()}`,
    warnings,
  };
}

/** A time as web UIs write it, such as 20241231235959, in UTC. */
function timestamp(time: Date): string {
  return time.toISOString().slice(0, 19).replace(/\D/g, '');
}
