import { basename, join, resolve } from 'node:path';
import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { GraphFile, Precision } from '../onnx/graphInfo.js';
import { SrdsError } from '../errors.js';
import { FAMILIES, familyOf } from './families.js';
import { modelIndex, type ImageSize, type ModelFamily, type ModelIndex } from './family.js';
import { fileExists, readJson, requireFile } from './files.js';
import type { GraphName, TextEncoderName } from './graphNames.js';
import type { LatentScale } from './latentScale.js';
import { readScheduler, type SchedulerFile } from './scheduler.js';
import { readTokenizer, type ClipTokenizer } from './tokenizer.js';

/** The model that comes with this package. */
export const BUNDLED_MODEL = fileURLToPath(new URL('../../models/scenes-128', import.meta.url));

const channels = z.array(z.int().positive()).min(1);
const side = z.int().positive();

/** A number for all levels of a network, or one for each. */
const perLevel = z.union([z.int().positive(), channels]);

const unetConfig = z.object({
  in_channels: z.literal(4, 'only UNets of 4 latent channels are supported'),
  sample_size: z.union([z.tuple([side, side]), side.transform((both): [number, number] => [both, both])]),
  block_out_channels: channels,
  down_block_types: z.array(z.string()).default([]),
  up_block_types: z.array(z.string()).default([]),
  // diffusers takes the dimension of a head for the number of heads if that is missing, as in every Stable Diffusion model.
  num_attention_heads: perLevel.nullish(),
  attention_head_dim: perLevel.nullish(),
  time_cond_proj_dim: z.null('UNets that take the guidance scale as an input are not supported').optional(),
});
const vaeConfig = z.object({
  block_out_channels: channels,
  mid_block_add_attention: z.boolean().default(true),
  scaling_factor: z.number().positive().default(0.18215),
});
/** Statistics of the latents, by channel, where the family's pipeline uses them. */
const latentStatistics = (count: number) => {
  const perChannel = z.array(z.number()).length(count, `expected ${count} numbers, one for each latent channel`);
  return z.object({ latents_mean: perChannel.nullish(), latents_std: perChannel.nullish() });
};
const textConfig = z.object({ max_position_embeddings: z.int().positive(), vocab_size: z.int().positive() });

/**
 * ONNX Runtime's CPU kernels round the elements after the last whole vector differently. Layers whose width is a multiple of
 * this have no such elements; others have them in the last row of an odd batch (measured).
 */
const VECTOR = 32;

/** A text encoder and its tokenizer. */
export interface TextEncoder {
  readonly graph: TextEncoderName;
  readonly tokenizer: ClipTokenizer;
}

/** An ONNX folder in diffusers' layout, read and checked except for its graphs. */
export interface ModelFolder {
  /** Name for people: that of the folder or of the repository. */
  readonly name: string;
  readonly path: string;
  readonly family: ModelFamily;
  readonly scheduler: SchedulerFile;
  readonly textEncoders: readonly TextEncoder[];
  /** Path of each graph. Image to image needs `vae_encoder`, which is optional. */
  readonly graphs: Readonly<Partial<Record<GraphName, string>>>;
  /** Path of unet/model_fp16.onnx, the UNet in half precision; undefined if the folder has none. */
  readonly unetHalf?: string | undefined;
  /** Channels of each level of the UNet, the largest feature maps first, and the heads of its attentions: 0 without any. */
  readonly unetLevels: readonly { readonly channels: number; readonly heads: number }[];
  /** Channels of each level of the VAE, the largest feature maps first. */
  readonly vaeChannels: readonly number[];
  /** Whether the VAE has an attention over all latents. */
  readonly vaeAttention: boolean;
  readonly latentChannels: number;
  /** Default size of an image, in pixels. */
  readonly size: ImageSize;
  /** Pixels for each latent, along each side. */
  readonly vaeFactor: number;
  /** Both sides of an image must be multiples of this, in pixels. */
  readonly sizeStep: number;
  readonly latentScale: LatentScale;
  /** Whether a CPU needs batches with an even number of rows, so that the UNet's result for a row is the same in each. */
  readonly evenRows: boolean;
  /** Whether a missing negative prompt means zero conditioning instead of that of "". */
  readonly zerosForNoNegative: boolean;
}

/**
 * Reads a model folder as Optimum exports it.
 * @param name name for people; default: that of the folder
 * @throws SrdsError MODEL_NOT_FOUND if the folder or a file is missing, MODEL_INVALID if a file is unusable
 * @example
 * const model = await readModelFolder(BUNDLED_MODEL);
 * const pipeline = await Pipeline.open(model);
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
  const { index, family } = await readFamily(path);
  const scheduler = await readScheduler(path, family.forcedScheduler, index.scheduler?.[1]);
  const unet = await readJson(path, 'unet/config.json', unetConfig);
  const vae = await readJson(path, 'vae_decoder/config.json', vaeConfig);
  const textEncoders: TextEncoder[] = [];
  for (const { graph, tokenizer } of family.textEncoders) {
    textEncoders.push(await readTextEncoder(path, graph, tokenizer));
  }

  const needed: GraphName[] = [...textEncoders.map(({ graph }) => graph), 'unet', 'vae_decoder'];
  if (await fileExists(path, 'vae_encoder/model.onnx')) needed.push('vae_encoder');
  const files = await Promise.all(needed.map((graph) => requireFile(path, `${graph}/model.onnx`)));
  const half = 'unet/model_fp16.onnx';

  const vaeFactor = 2 ** (vae.block_out_channels.length - 1);
  const [height, width] = unet.sample_size;
  return {
    name: name ?? basename(path),
    path,
    family,
    scheduler,
    textEncoders,
    graphs: Object.fromEntries(needed.map((graph, i) => [graph, files[i]])),
    unetHalf: (await fileExists(path, half)) ? join(path, half) : undefined,
    unetLevels: levelsOf(unet),
    vaeChannels: vae.block_out_channels,
    vaeAttention: vae.mid_block_add_attention,
    latentChannels: unet.in_channels,
    size: { width: width * vaeFactor, height: height * vaeFactor },
    vaeFactor,
    sizeStep: vaeFactor * 2 ** (unet.block_out_channels.length - 1),
    latentScale: { scaling: vae.scaling_factor, ...(await readLatentStatistics(path, family, unet.in_channels)) },
    evenRows: unet.block_out_channels.some((count) => count % VECTOR !== 0),
    zerosForNoNegative: family.zerosForNoNegative(index),
  };
}

/** Heads of a level without a number of its own, as in diffusers. */
const USUAL_HEADS = 8;

function levelsOf(unet: z.infer<typeof unetConfig>): ModelFolder['unetLevels'] {
  const { block_out_channels, down_block_types: down, up_block_types: up } = unet;
  const heads = unet.num_attention_heads ?? unet.attention_head_dim ?? USUAL_HEADS;
  const last = block_out_channels.length - 1;
  return block_out_channels.map((count, k) => {
    // The middle block, at the last level, has attentions in any case.
    const attends = k === last || [down.at(k), up.at(last - k)].some((type) => type?.includes('Attn'));
    const own = typeof heads === 'number' ? heads : (heads[k] ?? USUAL_HEADS);
    return { channels: count, heads: attends ? own : 0 };
  });
}

/**
 * Reads model_index.json.
 * @throws SrdsError MODEL_NOT_FOUND if it is missing, MODEL_INVALID if its pipeline is not supported
 */
export async function readFamily(
  folder: string,
): Promise<{ readonly index: ModelIndex; readonly family: ModelFamily }> {
  const index = await readJson(folder, 'model_index.json', modelIndex);
  return { index, family: supportedFamily(index) };
}

/** @throws SrdsError MODEL_INVALID if there is none */
function supportedFamily(index: ModelIndex): ModelFamily {
  const family = familyOf(index._class_name);
  const unsupported = family?.unsupported(index);
  if (family && unsupported === undefined) return family;
  throw new SrdsError(
    'MODEL_INVALID',
    `a ${FAMILIES.map(({ pipelines: [name] }) => name).join(' or ')} in model_index.json`,
    unsupported ?? index._class_name,
    'use the folder of a Stable Diffusion 1.x, 2.x or SDXL base model',
  );
}

async function readTextEncoder(folder: string, graph: TextEncoderName, tokenizer: string): Promise<TextEncoder> {
  const config = await readJson(folder, `${graph}/config.json`, textConfig);
  const limits = { maxLength: config.max_position_embeddings, vocabulary: config.vocab_size };
  return { graph, tokenizer: await readTokenizer(folder, tokenizer, limits) };
}

/** Mean and deviation of the latents. They count together only, and not in every pipeline. */
async function readLatentStatistics(
  folder: string,
  family: ModelFamily,
  count: number,
): Promise<Pick<LatentScale, 'mean' | 'deviation'>> {
  const none = { mean: Array<number>(count).fill(0), deviation: Array<number>(count).fill(1) };
  if (!family.latentStatistics) return none;
  const schema = latentStatistics(count);
  const { latents_mean: mean, latents_std: deviation } = await readJson(folder, 'vae_decoder/config.json', schema);
  return mean && deviation ? { mean, deviation } : none;
}

/**
 * The graphs of a folder as an engine opens them, with one timestep for each row of the UNet.
 * @param precision precision of the UNet
 */
export function graphFiles(model: ModelFolder, precision: Precision | 'auto' = 'float32'): Record<string, GraphFile> {
  const entries = Object.entries(model.graphs) as [GraphName, string][];
  const unet = {
    perRow: 'timestep',
    replayed: true,
    evenRows: model.evenRows,
    half: model.unetHalf,
    ...(precision !== 'float32' && { precision }),
  };
  const decoder = { replayed: true };
  const settings: Partial<Record<GraphName, Omit<GraphFile, 'path'>>> = { unet, vae_decoder: decoder };
  return Object.fromEntries(entries.map(([name, path]) => [name, { path, ...settings[name] }]));
}

/** Shape of an image's latents, [channels, height / factor, width / factor]. */
export function latentDims({ latentChannels, vaeFactor }: ModelFolder, { width, height }: ImageSize): number[] {
  return [latentChannels, height / vaeFactor, width / vaeFactor];
}
