import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf, SrdsError } from '../errors.js';
import { exampleInputs } from '../model/exampleInputs.js';
import { graphFiles, type ModelFolder } from '../model/modelFolder.js';
import { brokenGraph } from '../onnx/brokenGraph.js';
import type { GraphFile, Precision } from '../onnx/graphInfo.js';
import { standaloneGraph, type StandaloneGraph } from '../onnx/standaloneGraph.js';
import { modelConfig, type Backend } from './modelConfig.js';
import type { RepositoryModel } from './modelRepository.js';

/** The model of the python backend, which comes with this package. */
const PYTHON_MODEL = fileURLToPath(new URL('../../deploy/triton/model.py', import.meta.url));

/** Folder of the only version of a model. */
const VERSION = '1';

/** How a network is to be served. */
export interface ExportOptions {
  /** Name of the model on the server; default: `unet` or `transformer`. */
  readonly name?: string | undefined;
  readonly backend: Backend;
  /** Precision of the arithmetic; `auto`: half precision if most weights are stored in it. Inputs and outputs are float32. */
  readonly precision: Precision | 'auto';
  /** Sizes of batches to be ready for, in rows, ascending. */
  readonly batches: readonly number[];
}

/**
 * The denoising network of a folder as a model of Triton: with one timestep a row, and a batch axis for every input.
 * @throws SrdsError MODEL_INVALID if requests could not share batches of it
 */
export async function exportModel(
  model: ModelFolder,
  { name = model.family.network, backend, precision, batches }: ExportOptions,
): Promise<RepositoryModel> {
  const file = networkFile(model, precision);
  const graph = await standaloneGraph(file).catch((error: unknown) => {
    throw brokenGraph(file.path, messageOf(error), { cause: error });
  });
  const example = exampleInputs(model, model.size, graph.inputs);
  const config = modelConfig({
    name,
    backend,
    source: model.name,
    inputs: graph.inputs,
    output: graph.outputs[0],
    precision: graph.precision,
    batches: batchesOf(graph, batches, file.path),
    shapes: example && new Map(Object.entries(example).map(([input, { dims }]) => [input, dims])),
  });
  const written = new Map<string, string | Uint8Array>([
    ['config.pbtxt', config],
    [join(VERSION, 'model.onnx'), graph.source],
  ]);
  if (backend === 'python') written.set(join(VERSION, 'model.py'), await readFile(PYTHON_MODEL));
  const copied = new Map(graph.weights.map((weights) => [join(VERSION, weights.name), weights.from]));
  return { name, written, copied };
}

/** The file of the denoising network. */
function networkFile(model: ModelFolder, precision: Precision | 'auto'): GraphFile {
  const file = graphFiles(model, precision)[model.family.network];
  return { ...file, path: precision === 'float16' ? (file.half ?? file.path) : file.path };
}

/** The sizes of batches that a graph takes. @throws SrdsError MODEL_INVALID if it takes one size only, or one timestep a batch */
function batchesOf({ rewrite, rows }: StandaloneGraph, batches: readonly number[], path: string): readonly number[] {
  const remedy = 'export the model with Optimum, with a free batch axis';
  if (rewrite?.status === 'impossible') {
    throw new SrdsError('MODEL_INVALID', `one timestep a row in ${path}`, `one a batch: ${rewrite.why}`, remedy);
  }
  if (rows !== undefined && rows > 1) {
    throw new SrdsError('MODEL_INVALID', `batches of any size in ${path}`, `of ${rows} rows only`, remedy);
  }
  return rows === 1 ? [1] : batches;
}
