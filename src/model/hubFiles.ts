import { stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { ModelProto } from 'onnx-buf';
import { messageOf, SrdsError } from '../errors.js';
import type { Repository } from '../hub/name.js';
import type { Selection } from '../hub/selection.js';
import { brokenGraph } from '../onnx/brokenGraph.js';
import { readModel } from '../onnx/readModel.js';
import { weightNames } from '../onnx/weights.js';
import type { GraphName } from './graphNames.js';
import { INDEX_FILE } from './family.js';
import { graphFileAmong, networkFolder } from './findGraph.js';
import { readFamily, type FamilyFolder } from './modelFolder.js';

/** The file that names the family, and those that say in which folder its network is. All are small. */
export const FIRST_FILES: readonly string[] = [INDEX_FILE, 'unet/config.json', 'transformer/config.json'];
/** Files of a tokenizer's folder: vocabularies, merges, added tokens and settings. */
const TOKENIZER_FILE = /^[^/]+\.(json|txt|model)$/;
/** Files next to graphs that no graph has as its weights, unless it names them. */
const NO_WEIGHTS =
  /\.(onnx|json|txt|md|safetensors|msgpack|h5|pt|pth|ckpt|xml)$|\/(diffusion_)?(pytorch|flax|tf)_model[^/]*\.bin$/;
/** A graph of at most this many bytes is read in any case. Larger ones hold their weights, unless there are other files. */
const SMALL_GRAPH = 64 * 1024 * 1024;

/** What a folder of a family consists of, by subfolders. */
interface FolderParts {
  readonly graphs: readonly GraphName[];
  /** Graphs that a folder may lack. */
  readonly optionalGraphs: readonly GraphName[];
  readonly tokenizers: readonly string[];
}

function partsOf({ index, family: { network, textEncoders } }: FamilyFolder): FolderParts {
  const present = textEncoders.filter(({ isAbsent }) => !isAbsent?.(index));
  return {
    graphs: [network, ...present.map(({ graph }) => graph), 'vae_decoder'],
    optionalGraphs: ['vae_encoder'],
    tokenizers: present.map(({ tokenizer }) => tokenizer),
  };
}

/**
 * Selects the files of a model: first those that name its family, then the graphs, configurations and tokenizers of that family,
 * then the files that the graphs name as their weights.
 * @returns selections that throw SrdsError MODEL_NOT_FOUND if the repository has no ONNX graphs, MODEL_INVALID if a part is missing, the
 *   family is not supported or a graph is unreadable
 */
export function modelSelections(repository: Repository): readonly Selection[] {
  const absent = (file: string, paths: readonly string[]) => missing('MODEL_INVALID', file, paths, repository);
  return [
    async (paths) => {
      const notFound = (file: string) => missing('MODEL_NOT_FOUND', file, paths, repository);
      if (!paths.some((path) => path.includes('/') && path.endsWith('.onnx')))
        throw notFound('a model.onnx for each part');
      if (!paths.includes(INDEX_FILE)) throw notFound(INDEX_FILE);
      return FIRST_FILES.filter((path) => paths.includes(path));
    },
    async (paths, folder) => {
      const { tokenizers } = partsOf(await readFamily(folder));
      const graphs = await graphsOf(paths, folder);
      const unnamed = graphs.find(({ file }) => file === undefined);
      if (unnamed) throw absent(`${unnamed.subfolder}/model.onnx`, paths);
      const configurations = graphs
        .filter(({ graph }) => graph !== 'vae_encoder')
        .map(({ subfolder }) => `${subfolder}/config.json`);
      const required = [...configurations, 'scheduler/scheduler_config.json'];
      const lacking = required.find((path) => !paths.includes(path));
      if (lacking !== undefined) throw absent(lacking, paths);
      const ofTokenizers = tokenizers.flatMap((tokenizer) =>
        paths.filter(
          (path) => path.startsWith(`${tokenizer}/`) && TOKENIZER_FILE.test(path.slice(tokenizer.length + 1)),
        ),
      );
      // Nothing here reads it, but other tools that share the cache may.
      const encoder = paths.filter((path) => path === 'vae_encoder/config.json');
      const selected = [...graphs.flatMap(({ file }) => file ?? []), ...required, ...encoder, ...ofTokenizers];
      return selected.filter((path) => !FIRST_FILES.includes(path));
    },
    async (paths, folder) => {
      const files: string[] = [];
      for (const { file } of await graphsOf(paths, folder)) {
        if (file !== undefined) files.push(...(await weightsOf(file, paths, folder, absent)));
      }
      return files;
    },
  ];
}

/** A graph in a repository. */
interface RemoteGraph {
  readonly graph: GraphName;
  readonly subfolder: string;
  /** Its path; undefined if the repository lacks it. */
  readonly file: string | undefined;
}

/** The graphs of a family, without optional ones that the repository lacks. @param folder has the first files */
async function graphsOf(paths: readonly string[], folder: string): Promise<readonly RemoteGraph[]> {
  const read = await readFamily(folder);
  const { graphs, optionalGraphs } = partsOf(read);
  const { network } = read.family;
  const folderOfNetwork = await networkFolder(folder, network);
  const find = (graph: GraphName): RemoteGraph => {
    const subfolder = graph === network ? folderOfNetwork : graph;
    const name = graphFileAmong(namesIn(paths, subfolder));
    return { graph, subfolder, file: name === undefined ? undefined : `${subfolder}/${name}` };
  };
  return [...graphs.map(find), ...optionalGraphs.map(find).filter(({ file }) => file !== undefined)];
}

/** Names of the files in a folder of a repository, without those of folders below. */
function namesIn(paths: readonly string[], folder: string): string[] {
  return paths.filter((path) => posix.dirname(path) === folder).map((path) => posix.basename(path));
}

/** The files that a graph names as its weights. @param graph its path */
async function weightsOf(
  graph: string,
  paths: readonly string[],
  folder: string,
  absent: (file: string, paths: readonly string[]) => SrdsError,
): Promise<string[]> {
  const file = join(folder, graph);
  const subfolder = posix.dirname(graph);
  const hasCandidates = paths.some((path) => path.startsWith(`${subfolder}/`) && !NO_WEIGHTS.test(path));
  if (!hasCandidates && (await stat(file)).size > SMALL_GRAPH) return [];
  // Weights in the graph's file itself are read as references to it.
  const named = weightNames(await readGraph(file))
    .map((name) => posix.join(subfolder, name))
    .filter((path) => path !== graph);
  const lacking = named.find((path) => !paths.includes(path));
  if (lacking !== undefined) throw absent(`${lacking}, weights of ${graph},`, paths);
  return named;
}

async function readGraph(path: string): Promise<ModelProto> {
  return readModel(path).catch((error: unknown) => {
    throw brokenGraph(path, messageOf(error), { cause: error });
  });
}

function missing(
  code: 'MODEL_NOT_FOUND' | 'MODEL_INVALID',
  file: string,
  paths: readonly string[],
  { name, revision }: Repository,
): SrdsError {
  const graphs = paths.filter((path) => path.endsWith('.onnx'));
  return new SrdsError(
    code,
    `${file} in ${name}@${revision}`,
    graphs.length > 0
      ? `other ONNX files, ${graphs.slice(0, 3).join(', ')}`
      : `${paths.length} files, none of them an ONNX graph`,
    `look for a revision that has it, or export the model: optimum-cli export onnx --model ${name} FOLDER, then --model FOLDER`,
  );
}
