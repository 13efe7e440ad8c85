import { join, resolve } from 'node:path';
import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { GraphFile, Precision } from '../onnx/graphInfo.js';
import { brokenGraph } from '../onnx/brokenGraph.js';
import { describeGraph } from '../onnx/describe.js';
import { isMissing, messageOf, SrdsError } from '../errors.js';
import { FAMILIES, familyOf, reasonAgainst } from './families.js';
import {
  INDEX_FILE,
  modelIndex,
  type DescribedModel,
  type EncoderKind,
  type ImageSize,
  type Level,
  type ModelDefaults,
  type ModelFamily,
  type ModelIndex,
  type NetworkFacts,
  type SequenceLength,
  type TextEncoderPart,
} from './family.js';
import { fewStepsOf } from './fewSteps.js';
import { fileExists, missingFile, readJson, unreadable } from './files.js';
import { findGraph, hasGraph, networkFolder } from './findGraph.js';
import {
  checkGraphChannels,
  fixedImageTokens,
  fixedSequenceLength,
  fixedSizeFor,
  fixedTokens,
  lacksBatchAxis,
  type DescribedGraph,
  type FixedSize,
} from './fixedShapes.js';
import type { GraphName, TextEncoderName } from './graphNames.js';
import { inputRoles } from './inputRoles.js';
import type { LatentScale } from './latentScale.js';
import { noFolder, otherFormat } from './otherFormats.js';
import { nameOfFolder } from './modelName.js';
import type { SchedulerFile } from './scheduler.js';
import { readT5Tokenizer, type T5Tokenizer } from './t5Tokenizer.js';
import { readTokenizer, type ClipTokenizer } from './tokenizer.js';

/** The model that comes with this package. */
export const BUNDLED_MODEL = fileURLToPath(new URL('../../models/scenes-128', import.meta.url));

/** Statistics of the latents, by channel, where the family's pipeline uses them. */
const latentStatistics = (count: number) => {
  const perChannel = z.array(z.number()).length(count, `expected ${count} numbers, one for each latent channel`);
  return z.object({ latents_mean: perChannel.nullish(), latents_std: perChannel.nullish() });
};
const vaeConfig = z.object({
  block_out_channels: z.array(z.int().positive()).min(1),
  mid_block_add_attention: z.boolean().default(true),
  latent_channels: z.int().positive().default(4),
  scaling_factor: z.number().positive().default(0.18215),
  shift_factor: z.number().nullish(),
  force_upcast: z.boolean().nullish(),
});
/** A start, an end and a token between them. */
const MIN_TOKENS = 3;
const MAX_TOKENS = 65536;
const clipConfig = z.object({
  max_position_embeddings: z.int().min(MIN_TOKENS).max(MAX_TOKENS),
  vocab_size: z.int().positive(),
  use_attention_mask: z.boolean().nullish(),
});
/** Defaults: transformers' T5Config. */
const t5Config = z.object({
  vocab_size: z.int().positive(),
  d_model: z.int().positive().default(512),
  num_heads: z.int().positive().default(8),
});

/** A text encoder and its tokenizer. */
export interface TextEncoder {
  readonly graph: TextEncoderName;
  readonly kind: EncoderKind;
  readonly tokenizer: ClipTokenizer | T5Tokenizer;
  /** Whether the encoder ignores padding, as diffusers has it only where the configuration says so (`use_attention_mask`). */
  readonly masksPadding: boolean;
  /** Channels and heads of T5's attentions; undefined for CLIP. */
  readonly attention?: Pick<Level, 'channels' | 'heads'> | undefined;
}

/** An ONNX folder in diffusers' layout, read and checked. Of its graphs, no more is known than their files say. */
export interface ModelFolder {
  /** Name for people: that of the folder or of the repository. */
  readonly name: string;
  readonly path: string;
  readonly family: ModelFamily;
  readonly scheduler: SchedulerFile;
  /** The text encoders of the family, in its order; undefined where the folder lacks one that it may lack. */
  readonly textEncoders: readonly (TextEncoder | undefined)[];
  /** Path of each graph. Image to image needs `vae_encoder`, which is optional. */
  readonly graphs: Readonly<Partial<Record<GraphName, string>>>;
  /** What each graph's file contains. */
  readonly described: readonly DescribedGraph[];
  /** Path of the denoising network's model_fp16.onnx, that in half precision; undefined if the folder has none. */
  readonly half?: string | undefined;
  /** The configuration of the denoising network. */
  readonly network: NetworkFacts;
  /** Channels of each level of the VAE, the largest feature maps first. */
  readonly vaeChannels: readonly number[];
  /** Whether the VAE has an attention over all latents. */
  readonly vaeAttention: boolean;
  /** Whether the decoder computes in float32 whatever its weights are stored in. */
  readonly upcastsVae: boolean;
  /** Default size of an image, in pixels. */
  readonly size: ImageSize;
  /** The sides that the graphs fix; images have no others. An encoder may fix further ones for runs with an initial image. */
  readonly fixed: FixedSize;
  /** Tokens of an image, where the network works on tokens and its graph fixes how many. */
  readonly fixedImageTokens?: number | undefined;
  /** Largest side of an image, in pixels; undefined if the network has no limit of its own. */
  readonly maxSide?: number | undefined;
  /** Pixels for each latent, along each side. */
  readonly vaeFactor: number;
  /** Both sides of an image must be multiples of this, in pixels. */
  readonly sizeStep: number;
  readonly latentScale: LatentScale;
  /** Whether a missing negative prompt means zero conditioning instead of that of "". */
  readonly zerosForNoNegative: boolean;
  readonly defaults: ModelDefaults;
  /** Tokens of T5; undefined for families without it. */
  readonly sequenceLength?: SequenceLength | undefined;
  /** What shows that the model was distilled to be sampled in a few steps; undefined if nothing does. */
  readonly fewSteps?: string | undefined;
}

/**
 * Reads a model folder as Optimum exports it.
 * @param name name for people; default: that of the folder
 * @throws SrdsError MODEL_NOT_FOUND if there is no model, MODEL_INVALID if a file is missing or unusable
 * @example
 * const model = await readModelFolder(BUNDLED_MODEL);
 * const pipeline = await Pipeline.open(model);
 */
export async function readModelFolder(folder: string, name?: string): Promise<ModelFolder> {
  const path = resolve(folder);
  const stats = await stat(path).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw unreadable(path, error);
  });
  if (stats?.isFile()) throw noFolder(folder);
  if (!stats?.isDirectory()) {
    throw new SrdsError(
      'MODEL_NOT_FOUND',
      'a model folder',
      `${stats ? 'no folder' : 'nothing'} at ${folder}`,
      'give --model the path of a diffusers folder of ONNX graphs, or owner/name on the Hugging Face hub',
    );
  }
  const hasIndex = await fileExists(path, INDEX_FILE);
  if (!hasIndex || !(await hasGraph(path, 'unet', 'transformer'))) {
    const error = await otherFormat(path);
    if (error) throw error;
  }
  if (!hasIndex) throw missingFile('MODEL_NOT_FOUND', path, INDEX_FILE);
  const { index, family } = await readFamily(path);
  const scheduler = await family.readScheduler(path, index);
  const folderOfNetwork = await networkFolder(path, family.network);
  const network = await readJson(path, `${folderOfNetwork}/config.json`, family.networkConfig);
  const vae = await readJson(path, 'vae_decoder/config.json', vaeConfig);
  checkChannels(path, vae.latent_channels, network.latentChannels);
  const described = { name: name ?? nameOfFolder(path), index, network, scheduler };
  const present = family.textEncoders.filter(({ isAbsent }) => !isAbsent?.(index));
  const needed: GraphName[] = [...present.map(({ graph }) => graph), family.network, 'vae_decoder'];
  if (await hasGraph(path, 'vae_encoder')) needed.push('vae_encoder');
  const folderOf = (graph: GraphName) => (graph === family.network ? folderOfNetwork : graph);
  const files = await Promise.all(needed.map((graph) => findGraph(path, folderOf(graph))));
  const graphs: ModelFolder['graphs'] = Object.fromEntries(needed.map((graph, i) => [graph, files[i]]));
  const halfFile = join(path, folderOfNetwork, 'model_fp16.onnx');
  const hasHalf = graphs[family.network] !== halfFile && (await fileExists(path, `${folderOfNetwork}/model_fp16.onnx`));
  const half = hasHalf ? halfFile : undefined;
  const contents = await describeGraphs(graphFiles({ family, graphs, half, network }));
  checkGraphChannels(contents, network.latentChannels);
  const sequenceLength = sequenceLengthOf(family, described, contents);
  const textEncoders: (TextEncoder | undefined)[] = [];
  for (const part of family.textEncoders) {
    const isPresent = present.includes(part);
    textEncoders.push(isPresent ? await readTextEncoder(path, part, contents, sequenceLength?.max) : undefined);
  }
  if (sequenceLength === undefined) checkTextRows(contents, textEncoders);

  const vaeFactor = 2 ** (vae.block_out_channels.length - 1);
  const [height, width] = network.sampleSize;
  const sizeStep = vaeFactor * network.latentStep;
  const fixed = fixedSizeFor({ described: contents, vaeFactor }, false);
  const fixedTokenCount = fixedImageTokens(contents);
  return {
    name: described.name,
    path,
    family,
    scheduler,
    textEncoders,
    graphs,
    described: contents,
    half,
    network,
    vaeChannels: vae.block_out_channels,
    vaeAttention: vae.mid_block_add_attention,
    upcastsVae: family.upcastsVae === true && vae.force_upcast !== false,
    size: usualSize({ width: width * vaeFactor, height: height * vaeFactor }, fixed, fixedTokenCount, sizeStep),
    fixed,
    fixedImageTokens: fixedTokenCount,
    maxSide: network.maxLatents === undefined ? undefined : network.maxLatents * vaeFactor,
    vaeFactor,
    sizeStep,
    latentScale: {
      scaling: vae.scaling_factor,
      ...(await readLatentStatistics(path, family, network.latentChannels, vae.shift_factor ?? 0)),
    },
    zerosForNoNegative: family.zerosForNoNegative(index),
    defaults: family.defaults?.(described) ?? {},
    sequenceLength,
    fewSteps: fewStepsOf(family, described),
  };
}

/** The default size: what the graphs fix, or the configuration's. @param tokens that an image must have; undefined: any number */
function usualSize(configured: ImageSize, fixed: FixedSize, tokens: number | undefined, sizeStep: number): ImageSize {
  const side = tokens === undefined ? undefined : Math.sqrt(tokens) * sizeStep;
  const square = side !== undefined && Number.isInteger(side) ? { width: side, height: side } : configured;
  return { width: fixed.width ?? square.width, height: fixed.height ?? square.height };
}

/**
 * The number of tokens of T5: the family's, or the one that the graphs fix.
 * @throws SrdsError MODEL_INVALID if graphs fix different ones
 */
function sequenceLengthOf(
  family: ModelFamily,
  described: DescribedModel,
  contents: readonly DescribedGraph[],
): SequenceLength | undefined {
  const usual = family.sequenceLength?.(described);
  if (usual === undefined) return undefined;
  const t5 = family.textEncoders.find(({ kind }) => kind === 't5')?.graph;
  const fixed = fixedSequenceLength(contents, t5, family.clipRows ?? 0);
  return fixed === undefined ? usual : { min: fixed, default: fixed, max: fixed };
}

/** @throws SrdsError MODEL_INVALID if the network fixes another number of text states than the encoders give */
function checkTextRows(contents: readonly DescribedGraph[], textEncoders: readonly (TextEncoder | undefined)[]): void {
  const fixed = fixedSequenceLength(contents, undefined, 0);
  const found = textEncoders.find((one) => one && fixed !== undefined && one.tokenizer.maxLength !== fixed);
  if (!found) return;
  const expected = `a text encoder of ${fixed} tokens, which the denoising network fixes,`;
  const { graph, tokenizer } = found;
  throw new SrdsError(
    'MODEL_INVALID',
    expected,
    `${graph} with ${tokenizer.maxLength}`,
    'use the whole folder of one model',
  );
}

/** @throws SrdsError MODEL_INVALID if the VAE and the network differ in the channels of latents */
function checkChannels(folder: string, found: number, expected: number): void {
  if (found === expected) return;
  throw new SrdsError(
    'MODEL_INVALID',
    `a VAE of ${expected} latent channels, as the denoising network has, in ${join(folder, 'vae_decoder/config.json')}`,
    String(found),
    'use the VAE published with the model',
  );
}

/** Names of the graphs of the text encoders that a folder has. */
export function textGraphs({ textEncoders }: Pick<ModelFolder, 'textEncoders'>): TextEncoderName[] {
  return textEncoders.flatMap((one) => one?.graph ?? []);
}

/** What model_index.json of a folder says. */
export interface FamilyFolder {
  readonly index: ModelIndex;
  readonly family: ModelFamily;
}

/**
 * Reads model_index.json.
 * @throws SrdsError MODEL_INVALID if it is unusable or its pipeline is not supported
 */
export async function readFamily(folder: string): Promise<FamilyFolder> {
  const index = await readJson(folder, INDEX_FILE, modelIndex);
  return { index, family: supportedFamily(index) };
}

/** @throws SrdsError MODEL_INVALID if there is none */
function supportedFamily(index: ModelIndex): ModelFamily {
  const family = familyOf(index._class_name);
  const unsupported = family?.unsupported?.(index);
  if (family && unsupported === undefined) return family;
  const { _class_name: name } = index;
  const why = reasonAgainst(name);
  throw new SrdsError(
    'MODEL_INVALID',
    `a ${FAMILIES.map(({ pipelines: [first] }) => first).join(', ')} in ${INDEX_FILE}`,
    unsupported ?? (why === undefined ? name : `${name}: ${why}`),
    'use a model of a family in docs/models.md',
  );
}

/** @throws SrdsError MODEL_INVALID if a graph is unreadable */
async function describeGraphs(files: Readonly<Record<string, GraphFile>>): Promise<DescribedGraph[]> {
  return Promise.all(
    Object.entries(files).map(async ([name, file]) => {
      const description = await describeGraph(file).catch((error: unknown) => {
        if (error instanceof Error && 'syscall' in error) throw unreadable(file.path, error);
        throw brokenGraph(file.path, messageOf(error), { cause: error });
      });
      return { name: name as GraphName, file, description };
    }),
  );
}

/** @param maxTokens largest number of tokens of T5 */
async function readTextEncoder(
  folder: string,
  { graph, tokenizer, kind }: TextEncoderPart,
  contents: readonly DescribedGraph[],
  maxTokens = 0,
): Promise<TextEncoder> {
  const file = `${graph}/config.json`;
  const own = contents.find(({ name }) => name === graph);
  // The configuration may promise more than the graph has.
  const tokensWithin = (size: number) => Math.min(size, own?.description.tokens ?? Infinity);
  if (kind === 't5') {
    const config = await readJson(folder, file, t5Config);
    const vocabulary = tokensWithin(config.vocab_size);
    const read = await readT5Tokenizer(folder, tokenizer, { maxLength: maxTokens, vocabulary });
    const attention = { channels: config.d_model, heads: config.num_heads };
    return { graph, kind, tokenizer: read, masksPadding: false, attention };
  }
  const config = await readJson(folder, file, clipConfig);
  const fixed = own && fixedTokens(own);
  const maxLength = Math.min(config.max_position_embeddings, fixed ?? Infinity);
  if (maxLength < MIN_TOKENS) {
    const expected = `at least ${MIN_TOKENS} tokens for a prompt in ${own?.file.path}`;
    throw new SrdsError('MODEL_INVALID', expected, String(maxLength), 'export the text encoder again');
  }
  const read = await readTokenizer(folder, tokenizer, { maxLength, vocabulary: tokensWithin(config.vocab_size) });
  if (fixed !== undefined && read.maxLength !== fixed) {
    throw new SrdsError(
      'MODEL_INVALID',
      `a tokenizer and a ${file} for ${fixed} tokens, which ${own?.file.path} fixes`,
      `${read.maxLength}`,
      'use the whole folder of one model',
    );
  }
  return { graph, kind, tokenizer: read, masksPadding: config.use_attention_mask ?? false };
}

/** Mean and deviation of the latents. They count together only, and not in every pipeline. */
async function readLatentStatistics(
  folder: string,
  family: ModelFamily,
  count: number,
  shift: number,
): Promise<Pick<LatentScale, 'mean' | 'deviation'>> {
  const none = { mean: Array<number>(count).fill(shift), deviation: Array<number>(count).fill(1) };
  if (!family.latentStatistics) return none;
  const schema = latentStatistics(count);
  const { latents_mean: mean, latents_std: deviation } = await readJson(folder, 'vae_decoder/config.json', schema);
  return mean && deviation ? { mean, deviation } : none;
}

/**
 * The graphs of a folder as an engine opens them, with one timestep for each row of the denoising network. The decoder has the precision of
 * its weights on CUDA, as in diffusers, unless float32 is asked for.
 * @param precision precision of the denoising network
 */
export function graphFiles(
  model: Pick<ModelFolder, 'family' | 'graphs' | 'half' | 'network'> &
    Partial<Pick<ModelFolder, 'described' | 'upcastsVae'>>,
  precision: Precision | 'auto' = 'float32',
): Record<string, GraphFile> {
  const entries = Object.entries(model.graphs) as [GraphName, string][];
  const { family, network, half, described = [], upcastsVae = false } = model;
  const denoising = described.find(({ name }) => name === family.network);
  const constants = family.constants?.filter((name) => !denoising || lacksBatchAxis(denoising, name, 2));
  const denoiser = {
    perRow: 'timestep',
    replayed: true,
    evenRows: network.evenRows,
    ...(constants && { constants }),
    half,
    ...(precision !== 'float32' && { precision }),
  };
  const decoder: Omit<GraphFile, 'path'> = {
    replayed: true,
    searches: false,
    imageOn: ['cuda'],
    ...(precision !== 'float32' && !upcastsVae && { precision: 'auto', halfOn: ['cuda'] }),
  };
  const settings: Partial<Record<GraphName, Omit<GraphFile, 'path'>>> = {
    [family.network]: denoiser,
    vae_decoder: decoder,
  };
  return Object.fromEntries(
    entries.map(([name, path]) => [name, { path, inputs: inputRoles(name, network.inputs), ...settings[name] }]),
  );
}

/** Shape of an image's latents, [channels, height / factor, width / factor]. */
export function latentDims({ network, vaeFactor }: ModelFolder, { width, height }: ImageSize): number[] {
  return [network.latentChannels, height / vaeFactor, width / vaeFactor];
}

/** Tokens of an image, where the network works on tokens. */
export function imageTokens({ sizeStep }: ModelFolder, { width, height }: ImageSize): number {
  return Math.floor(width / sizeStep) * Math.floor(height / sizeStep);
}
