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
import { readFamily, type FamilyFolder } from './modelFolder.js';

/** The file that names the pipeline. */
export const INDEX = 'model_index.json';
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
 * Selects the files of a model: first the one that names its family, then the graphs, configurations and tokenizers of that family,
 * then the files that the graphs name as their weights.
 * @returns selections that throw SrdsError MODEL_NOT_FOUND if a file is missing in the repository, MODEL_INVALID if the family is
 *   not supported or a graph is unreadable
 */
export function modelSelections(repository: Repository): readonly Selection[] {
  const graphsOf = async (paths: readonly string[], folder: string): Promise<readonly GraphName[]> => {
    const { graphs, optionalGraphs } = partsOf(await readFamily(folder));
    return [...graphs, ...optionalGraphs.filter((graph) => paths.includes(graphFile(graph)))];
  };
  return [
    async (paths) => {
      if (!paths.some((path) => path.endsWith('/model.onnx')))
        throw missing('a model.onnx for each part', paths, repository);
      if (!paths.includes(INDEX)) throw missing(INDEX, paths, repository);
      return [INDEX];
    },
    async (paths, folder) => {
      const { tokenizers } = partsOf(await readFamily(folder));
      const graphs = await graphsOf(paths, folder);
      const required = [
        ...graphs.map(graphFile),
        ...graphs.filter((graph) => graph !== 'vae_encoder').map((graph) => `${graph}/config.json`),
        'scheduler/scheduler_config.json',
      ];
      const absent = required.find((path) => !paths.includes(path));
      if (absent !== undefined) throw missing(absent, paths, repository);
      const ofTokenizers = tokenizers.flatMap((tokenizer) =>
        paths.filter(
          (path) => path.startsWith(`${tokenizer}/`) && TOKENIZER_FILE.test(path.slice(tokenizer.length + 1)),
        ),
      );
      // Nothing here reads it, but other tools that share the cache may.
      const encoder = paths.filter((path) => path === 'vae_encoder/config.json');
      return [...required, ...encoder, ...ofTokenizers];
    },
    async (paths, folder) => {
      const files: string[] = [];
      for (const graph of await graphsOf(paths, folder))
        files.push(...(await weightsOf(graph, paths, folder, repository)));
      return files;
    },
  ];
}

function graphFile(graph: GraphName): string {
  return `${graph}/model.onnx`;
}

/** The files that a graph names as its weights. */
async function weightsOf(
  graph: GraphName,
  paths: readonly string[],
  folder: string,
  repository: Repository,
): Promise<string[]> {
  const file = join(folder, graphFile(graph));
  const hasCandidates = paths.some((path) => path.startsWith(`${graph}/`) && !NO_WEIGHTS.test(path));
  if (!hasCandidates && (await stat(file)).size > SMALL_GRAPH) return [];
  // Weights in the graph's file itself are read as references to it.
  const named = weightNames(await readGraph(file))
    .map((name) => posix.join(graph, name))
    .filter((path) => path !== graphFile(graph));
  const absent = named.find((path) => !paths.includes(path));
  if (absent !== undefined) throw missing(`${absent}, weights of ${graphFile(graph)},`, paths, repository);
  return named;
}

async function readGraph(path: string): Promise<ModelProto> {
  return readModel(path).catch((error: unknown) => {
    throw brokenGraph(path, messageOf(error), { cause: error });
  });
}

function missing(file: string, paths: readonly string[], { name, revision }: Repository): SrdsError {
  const graphs = paths.filter((path) => path.endsWith('.onnx'));
  return new SrdsError(
    'MODEL_NOT_FOUND',
    `${file} in ${name}@${revision}`,
    graphs.length > 0
      ? `other ONNX files, ${graphs.slice(0, 3).join(', ')}`
      : `${paths.length} files, none of them an ONNX graph`,
    `look for a revision that has it, or export the model: optimum-cli export onnx --model ${name} FOLDER, then --model FOLDER`,
  );
}
