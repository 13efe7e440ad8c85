import { basename, join, resolve } from 'node:path';
import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { GraphFile, Precision } from '../onnx/graphInfo.js';
import { SrdsError } from '../errors.js';
import { fileExists, readJson, requireFile } from './files.js';
import type { LatentScale } from './latentScale.js';
import { readScheduler, type SchedulerFile } from './scheduler.js';
import { readTokenizer, type ClipTokenizer } from './tokenizer.js';

/** The model that comes with this package. */
export const BUNDLED_MODEL = fileURLToPath(new URL('../../models/scenes-128', import.meta.url));

/** Graphs of a Stable Diffusion folder, by the names of their subfolders. */
export const GRAPHS = ['text_encoder', 'text_encoder_2', 'unet', 'vae_decoder', 'vae_encoder'] as const;
/** Name of a graph of a Stable Diffusion folder. */
export type GraphName = (typeof GRAPHS)[number];
/** Name of a text encoder's graph. */
export type TextEncoderName = 'text_encoder' | 'text_encoder_2';

const channels = z.array(z.int().positive()).min(1);
const side = z.int().positive();
const modelIndex = z.object({
  _class_name: z.string(),
  force_zeros_for_empty_prompt: z.boolean().default(true),
  requires_aesthetics_score: z.boolean().nullish(),
});
/** Those of diffusers and of Optimum's runtime; for image to image the folder is the same. */
const PIPELINE = /^(?:ORT|Onnx)?StableDiffusion(XL)?(?:Img2Img)?Pipeline$/;
const KINDS = 'StableDiffusionPipeline or StableDiffusionXLPipeline';

const unetConfig = z.object({
  in_channels: z.literal(4, 'only UNets of 4 latent channels are supported'),
  sample_size: z.union([z.tuple([side, side]), side.transform((both): [number, number] => [both, both])]),
  block_out_channels: channels,
  time_cond_proj_dim: z.null('UNets that are told the guidance scale are not supported').optional(),
});
const perChannel = z.array(z.number()).nullish();
const vaeConfig = z.object({
  block_out_channels: channels,
  scaling_factor: z.number().positive().default(0.18215),
  latents_mean: perChannel,
  latents_std: perChannel,
});
const textConfig = z.object({ max_position_embeddings: z.int().positive(), vocab_size: z.int().positive() });

/** diffusers' StableDiffusionPipeline sets these whatever the scheduler's file says; its XL pipeline does not. */
const FORCED_BY_SD = { steps_offset: 1, clip_sample: false };

/**
 * ONNX Runtime's CPU kernels round what is left over after the last whole vector otherwise. Layers whose width is a multiple
 * leave nothing over; narrower ones do, in the last row of an odd batch (measured).
 */
const VECTOR = 32;

/** A text encoder and the tokenizer that goes with it. */
export interface TextEncoder {
  readonly graph: TextEncoderName;
  readonly tokenizer: ClipTokenizer;
}

/** A diffusers-layout ONNX folder, read and checked but for the graphs. */
export interface ModelFolder {
  /** Name for people: the folder's own, or the repository's. */
  readonly name: string;
  readonly path: string;
  /** `sd`: Stable Diffusion 1.x or 2.x; `sdxl`: two text encoders. */
  readonly kind: 'sd' | 'sdxl';
  readonly scheduler: SchedulerFile;
  readonly textEncoders: readonly TextEncoder[];
  /** Files of the graphs; without `vae_encoder` there is no image to image. */
  readonly graphs: Readonly<Partial<Record<GraphName, string>>>;
  /** The UNet in half precision, where the folder has unet/model_fp16.onnx besides. */
  readonly unetHalf?: string | undefined;
  readonly latentChannels: number;
  /** Width and height in pixels that the model was made for. */
  readonly size: { readonly width: number; readonly height: number };
  /** Pixels a latent. */
  readonly vaeFactor: number;
  /** Both sides must be multiples of it, in pixels. */
  readonly sizeStep: number;
  readonly latentScale: LatentScale;
  /** Whether the UNet's batches on a CPU need an even number of rows for a row to give the same bits in each. */
  readonly evenRows: boolean;
  /** Whether SDXL's embedding of a negative prompt that is not given is zeros, not that of "". */
  readonly zerosForNoNegative: boolean;
}

/**
 * Reads a Stable Diffusion folder as Optimum exports it.
 * @param name for people; default: the folder's own
 * @throws SrdsError MODEL_NOT_FOUND if the folder or a file is not there, MODEL_INVALID if one cannot be used
 */
export async function readModelFolder(folder: string, name?: string): Promise<ModelFolder> {
  const path = resolve(folder);
  const stats = await stat(path).catch(() => undefined);
  if (!stats?.isDirectory()) {
    throw new SrdsError(
      'MODEL_NOT_FOUND',
      'a model folder',
      `${stats ? 'a file' : 'nothing'} at ${folder}`,
      'give --model the path of a diffusers folder of ONNX graphs, or owner/name on the Hugging Face hub',
    );
  }
  const index = await readJson(path, 'model_index.json', modelIndex);
  const [known, xl] = (PIPELINE.exec(index._class_name) ?? []) as (string | undefined)[];
  if (known === undefined || index.requires_aesthetics_score) {
    throw new SrdsError(
      'MODEL_INVALID',
      `a ${KINDS} in model_index.json`,
      known === undefined ? index._class_name : 'an SDXL refiner',
      'use the folder of a Stable Diffusion 1.x, 2.x or SDXL base model',
    );
  }
  const scheduler = await readScheduler(path, xl ? {} : FORCED_BY_SD);
  const unet = await readJson(path, 'unet/config.json', unetConfig);
  const vae = await readJson(path, 'vae_decoder/config.json', vaeConfig);
  const textEncoders = [await readTextEncoder(path, 'text_encoder', 'tokenizer')];
  if (xl) textEncoders.push(await readTextEncoder(path, 'text_encoder_2', 'tokenizer_2'));

  const needed: GraphName[] = [...textEncoders.map(({ graph }) => graph), 'unet', 'vae_decoder'];
  if (await fileExists(path, 'vae_encoder/model.onnx')) needed.push('vae_encoder');
  const files = await Promise.all(needed.map((graph) => requireFile(path, `${graph}/model.onnx`)));
  const half = 'unet/model_fp16.onnx';

  const vaeFactor = 2 ** (vae.block_out_channels.length - 1);
  const [height, width] = unet.sample_size;
  const both = vae.latents_mean && vae.latents_std;
  return {
    name: name ?? basename(path),
    path,
    kind: xl ? 'sdxl' : 'sd',
    scheduler,
    textEncoders,
    graphs: Object.fromEntries(needed.map((graph, i) => [graph, files[i]])),
    unetHalf: (await fileExists(path, half)) ? join(path, half) : undefined,
    latentChannels: unet.in_channels,
    size: { width: width * vaeFactor, height: height * vaeFactor },
    vaeFactor,
    sizeStep: vaeFactor * 2 ** (unet.block_out_channels.length - 1),
    latentScale: {
      scaling: vae.scaling_factor,
      mean: perLatentChannel(both && vae.latents_mean, 0, unet.in_channels),
      deviation: perLatentChannel(both && vae.latents_std, 1, unet.in_channels),
    },
    evenRows: unet.block_out_channels.some((count) => count % VECTOR !== 0),
    zerosForNoNegative: xl !== undefined && index.force_zeros_for_empty_prompt,
  };
}

async function readTextEncoder(folder: string, graph: TextEncoderName, tokenizer: string): Promise<TextEncoder> {
  const config = await readJson(folder, `${graph}/config.json`, textConfig);
  const limits = { maxLength: config.max_position_embeddings, vocabulary: config.vocab_size };
  return { graph, tokenizer: await readTokenizer(folder, tokenizer, limits) };
}

function perLatentChannel(
  given: readonly number[] | null | undefined,
  value: number,
  count: number,
): readonly number[] {
  return given?.length === count ? given : Array<number>(count).fill(value);
}

/**
 * The graphs of a folder, as an engine opens them: the UNet with a timestep for each row.
 * @param precision of the UNet
 */
export function graphFiles(model: ModelFolder, precision: Precision | 'auto' = 'float32'): Record<string, GraphFile> {
  const entries = Object.entries(model.graphs) as [GraphName, string][];
  const unet = {
    perRow: 'timestep',
    evenRows: model.evenRows,
    half: model.unetHalf,
    ...(precision !== 'float32' && { precision }),
  };
  return Object.fromEntries(entries.map(([name, path]) => [name, name === 'unet' ? { path, ...unet } : { path }]));
}

/** Shape of an image's latents, [channels, height / factor, width / factor]. @param size of the image, in pixels */
export function latentDims(
  { latentChannels, vaeFactor }: ModelFolder,
  { width, height }: { readonly width: number; readonly height: number },
): number[] {
  return [latentChannels, height / vaeFactor, width / vaeFactor];
}
