import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { brokenGraph } from '../engine/onnx/brokenGraph.js';
import { readModel, weightFiles, type ModelProto } from '../engine/onnx/model.js';
import { messageOf, SrdsError } from '../errors.js';
import { parseRepository, type Repository } from '../hub/repository.js';
import { hubSettings } from '../hub/settings.js';
import { snapshot, type HubProgress } from '../hub/snapshot.js';
import { GRAPHS, readModelFolder, type ModelFolder } from './modelFolder.js';

/** What finding a model is told. */
export interface OpenModelOptions {
  readonly onProgress?: ((progress: HubProgress) => void) | undefined;
  readonly onWarning?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export type { HubProgress };

/** Of each graph's folder; weights beside it are found in the graph itself. */
const GRAPH_FILES = ['model.onnx', 'config.json'];
const TOKENIZER_FILES = ['vocab.json', 'merges.txt', 'tokenizer_config.json', 'special_tokens_map.json'];
/** What lies beside graphs and is none of theirs. */
const NO_WEIGHTS = /\.(onnx|json|txt|md|safetensors|msgpack|h5|pt|ckpt|xml)$|pytorch_model[^/]*\.bin$/;
const WANTED = new Set([
  'model_index.json',
  'scheduler/scheduler_config.json',
  ...GRAPHS.flatMap((graph) => GRAPH_FILES.map((file) => `${graph}/${file}`)),
  ...['tokenizer', 'tokenizer_2'].flatMap((folder) => TOKENIZER_FILES.map((file) => `${folder}/${file}`)),
]);

/**
 * A model by the path of its folder or by its name on the Hugging Face hub, `owner/name` or `owner/name@revision`; from the
 * hub only the files that are needed are fetched, into the cache that all Hugging Face tools share.
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID, DOWNLOAD_FAILED
 */
export async function openModel(model: string, options: OpenModelOptions = {}): Promise<ModelFolder> {
  const repository = (await exists(model)) ? undefined : parseRepository(model);
  if (!repository) return readModelFolder(model);
  const noFolder = (error: unknown): never => {
    if (!(error instanceof SrdsError) || error.code !== 'MODEL_NOT_FOUND') throw error;
    const found = `no folder ${model}, and ${error.found}`;
    throw new SrdsError(error.code, error.expected, found, error.remedy, { cause: error });
  };
  const folder = await snapshot(repository, {
    ...options,
    settings: await hubSettings(),
    select: (paths) => wanted(paths, repository),
    follow: weightsOf,
  }).catch(noFolder);
  return readModelFolder(folder, repository.name);
}

function wanted(paths: readonly string[], { name, revision }: Repository): string[] {
  if (paths.includes('unet/model.onnx')) return paths.filter((path) => WANTED.has(path));
  const graphs = paths.filter((path) => path.endsWith('.onnx'));
  throw new SrdsError(
    'MODEL_NOT_FOUND',
    `unet/model.onnx in ${name}@${revision}`,
    graphs.length > 0
      ? `other ONNX files, ${graphs.slice(0, 3).join(', ')}`
      : `${paths.length} files, none of them an ONNX graph`,
    `look for a revision that has them, or export it: optimum-cli export onnx --model ${name} FOLDER, then --model FOLDER`,
  );
}

/** Files that graphs name as their weights. Only graphs with a file beside or below them that could be are read. */
async function weightsOf(folder: string, paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const graph of paths.filter((path) => WANTED.has(path) && path.endsWith('.onnx'))) {
    const beside = paths.filter((path) => path.startsWith(`${dirname(graph)}/`) && !NO_WEIGHTS.test(path));
    if (beside.length === 0) continue;
    const named = weightFiles(await readGraph(join(folder, graph))).map((name) => `${dirname(graph)}/${name}`);
    found.push(...beside.filter((path) => named.includes(path)));
  }
  return found;
}

async function readGraph(path: string): Promise<ModelProto> {
  return readModel(path).catch((error: unknown) => {
    throw brokenGraph(path, messageOf(error), { cause: error });
  });
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
