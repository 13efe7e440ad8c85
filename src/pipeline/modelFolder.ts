import { basename, resolve } from 'node:path';
import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { SrdsError } from '../errors.js';
import { parseScheduleConfig, type ScheduleConfig } from '../schedule/config.js';
import { readJson, requireFile } from './files.js';
import { readTokenizer, type ClipTokenizer } from './tokenizer.js';

/** The model that comes with this package. */
export const BUNDLED_MODEL = fileURLToPath(new URL('../../models/scenes-128', import.meta.url));

/** Graphs of a Stable Diffusion folder, by the names of their subfolders. */
export const GRAPHS = ['text_encoder', 'unet', 'vae_decoder'] as const;
/** Name of a graph of a Stable Diffusion folder. */
export type GraphName = (typeof GRAPHS)[number];

const channels = z.array(z.int().positive()).min(1);
const side = z.int().positive();
const modelIndex = z.object({ _class_name: z.string() });
const SCHEDULER = 'scheduler/scheduler_config.json';
const schedulerConfig = z.looseObject({
  _class_name: z.string().refine((name) => !/FlowMatch|EDM|VQ|LCM|TCD|Consistency/.test(name), {
    error: ({ input }) => `${String(input)}, which DDIM cannot stand in for`,
  }),
});
/** diffusers' StableDiffusionPipeline sets these whatever the file says. */
const FORCED_BY_PIPELINE = { steps_offset: 1, clip_sample: false };
const unetConfig = z.object({
  in_channels: z.literal(4, 'only UNets of 4 latent channels are supported'),
  sample_size: z.union([z.tuple([side, side]), side.transform((both): [number, number] => [both, both])]),
  block_out_channels: channels,
});
const vaeConfig = z.object({ block_out_channels: channels, scaling_factor: z.number().positive().default(0.18215) });
const textConfig = z.object({ max_position_embeddings: z.int().positive(), vocab_size: z.int().positive() });

/** A diffusers-layout ONNX folder, read and checked but for the graphs. */
export interface ModelFolder {
  /** Name for people: the folder's own. */
  readonly name: string;
  readonly path: string;
  readonly schedule: ScheduleConfig;
  readonly tokenizer: ClipTokenizer;
  readonly graphs: Readonly<Record<GraphName, string>>;
  readonly latentChannels: number;
  /** Width and height in pixels that the model was made for. */
  readonly size: { readonly width: number; readonly height: number };
  /** Pixels a latent. */
  readonly vaeFactor: number;
  /** Both sides must be multiples of it, in pixels. */
  readonly sizeStep: number;
  /** Latents are divided by it before they are decoded. */
  readonly scalingFactor: number;
}

/**
 * Reads a Stable Diffusion folder as Optimum exports it.
 * @throws SrdsError MODEL_NOT_FOUND if the folder or a file is not there, MODEL_INVALID if one cannot be used
 */
export async function readModelFolder(folder: string): Promise<ModelFolder> {
  const path = resolve(folder);
  const stats = await stat(path).catch(() => undefined);
  if (!stats?.isDirectory()) {
    throw new SrdsError(
      'MODEL_NOT_FOUND',
      'a model folder',
      `${stats ? 'a file' : 'nothing'} at ${folder}`,
      'give --model the path of a diffusers folder of ONNX graphs',
    );
  }
  const index = await readJson(path, 'model_index.json', modelIndex);
  if (index._class_name !== 'StableDiffusionPipeline') {
    throw new SrdsError(
      'MODEL_INVALID',
      'a StableDiffusionPipeline in model_index.json',
      index._class_name,
      'use a Stable Diffusion 1.x or 2.x folder',
    );
  }
  const schedule = parseScheduleConfig(
    { ...(await readJson(path, SCHEDULER, schedulerConfig)), ...FORCED_BY_PIPELINE },
    { source: SCHEDULER },
  );
  const unet = await readJson(path, 'unet/config.json', unetConfig);
  const vae = await readJson(path, 'vae_decoder/config.json', vaeConfig);
  const text = await readJson(path, 'text_encoder/config.json', textConfig);
  const tokenizer = await readTokenizer(path, { maxLength: text.max_position_embeddings, vocabulary: text.vocab_size });
  const [textEncoder, unetGraph, vaeDecoder] = await Promise.all(
    GRAPHS.map((graph) => requireFile(path, `${graph}/model.onnx`)),
  );

  const vaeFactor = 2 ** (vae.block_out_channels.length - 1);
  const [height, width] = unet.sample_size;
  return {
    name: basename(path),
    path,
    schedule,
    tokenizer,
    graphs: { text_encoder: textEncoder, unet: unetGraph, vae_decoder: vaeDecoder },
    latentChannels: unet.in_channels,
    size: { width: width * vaeFactor, height: height * vaeFactor },
    vaeFactor,
    sizeStep: vaeFactor * 2 ** (unet.block_out_channels.length - 1),
    scalingFactor: vae.scaling_factor,
  };
}
