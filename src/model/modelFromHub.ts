import { dirname, join } from 'node:path';
import { brokenGraph } from '../onnx/brokenGraph.js';
import { readModel } from '../onnx/readModel.js';
import { weightFiles } from '../onnx/weights.js';
import type { ModelProto } from 'onnx-buf';
import { messageOf, SrdsError } from '../errors.js';
import type { Repository } from '../hub/name.js';
import { hubSettings } from '../hub/settings.js';
import { snapshot, type SnapshotOptions } from '../hub/snapshot.js';
import { FAMILIES } from './families.js';
import { GRAPHS } from './graphNames.js';
import { readModelFolder, type ModelFolder } from './modelFolder.js';

/** Files of each graph's folder. The graph itself names its files of weights. */
const GRAPH_FILES = ['model.onnx', 'config.json'];
const TOKENIZER_FILES = [
  'vocab.json',
  'merges.txt',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
];
const DENOISERS = [...new Set(FAMILIES.map(({ network }) => `${network}/model.onnx`))];
/** Files next to graphs that are not their weights. */
const NO_WEIGHTS = /\.(onnx|json|txt|md|safetensors|msgpack|h5|pt|ckpt|xml)$|pytorch_model[^/]*\.bin$/;
const WANTED = new Set([
  'model_index.json',
  'scheduler/scheduler_config.json',
  ...GRAPHS.flatMap((graph) => GRAPH_FILES.map((file) => `${graph}/${file}`)),
  ...FAMILIES.flatMap(({ textEncoders }) => textEncoders).flatMap(({ tokenizer }) =>
    TOKENIZER_FILES.map((file) => `${tokenizer}/${file}`),
  ),
]);

/**
 * Downloads a model of the Hugging Face hub. Only the files that are needed are downloaded, into the shared cache.
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID, DOWNLOAD_FAILED
 */
export async function modelFromHub(
  repository: Repository,
  options: Pick<SnapshotOptions, 'onProgress' | 'onWarning' | 'signal'>,
): Promise<ModelFolder> {
  const folder = await snapshot(repository, {
    ...options,
    settings: await hubSettings(),
    select: (paths) => wanted(paths, repository),
    follow: weightsOf,
  });
  return readModelFolder(folder, repository.name);
}

function wanted(paths: readonly string[], { name, revision }: Repository): string[] {
  if (paths.some((path) => DENOISERS.includes(path))) return paths.filter((path) => WANTED.has(path));
  const graphs = paths.filter((path) => path.endsWith('.onnx'));
  throw new SrdsError(
    'MODEL_NOT_FOUND',
    `${DENOISERS.join(' or ')} in ${name}@${revision}`,
    graphs.length > 0
      ? `other ONNX files, ${graphs.slice(0, 3).join(', ')}`
      : `${paths.length} files, none of them an ONNX graph`,
    `look for a revision that has them, or export it: optimum-cli export onnx --model ${name} FOLDER, then --model FOLDER`,
  );
}

/** Files that graphs name as their weights. Reads only graphs that have a candidate in their folder or below it. */
async function weightsOf(folder: string, paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const graph of paths.filter((path) => WANTED.has(path) && path.endsWith('.onnx'))) {
    const candidates = paths.filter((path) => path.startsWith(`${dirname(graph)}/`) && !NO_WEIGHTS.test(path));
    if (candidates.length === 0) continue;
    const named = weightFiles(await readGraph(join(folder, graph))).map((name) => `${dirname(graph)}/${name}`);
    found.push(...candidates.filter((path) => named.includes(path)));
  }
  return found;
}

async function readGraph(path: string): Promise<ModelProto> {
  return readModel(path).catch((error: unknown) => {
    throw brokenGraph(path, messageOf(error), { cause: error });
  });
}
