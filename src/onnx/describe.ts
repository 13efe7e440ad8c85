import { realpath, stat } from 'node:fs/promises';
import { sizeOf } from '../tensor/tensor.js';
import { embeddingRows } from './embeddingRows.js';
import { gpuOperators, optimizedOperators } from './foreignOperators.js';
import { isShared, maxRows, type GraphFile, type GraphInfo } from './graphInfo.js';
import { renameInputs } from './matchInputs.js';
import { describeValue, fixedRows, valuesOf } from './describeValue.js';
import { readModel } from './readModel.js';
import { rewriteInput } from './rewrite.js';
import { weightFiles } from './weights.js';

/** Description of an ONNX file. */
export interface GraphDescription extends GraphInfo {
  /** Size of the file and of its external weights. */
  readonly bytes: number;
  /** Elements of all weights. */
  readonly parameters: number;
  /** Version of the ONNX operator set. */
  readonly opset: number;
  /** Operators that run on a GPU only, as ONNX Runtime's optimizer makes them; empty for a graph that runs anywhere. */
  readonly gpuOperators: readonly string[];
  /** Whether an engine, after rewriting, takes one value of the input that needs one a row for a whole batch. */
  readonly perBatch: boolean;
  /** Rows of the table of a text encoder's token ids; undefined for other graphs, and if none is found. */
  readonly tokens: number | undefined;
}

/**
 * Describes an ONNX file as it is, without a session and without reading its weights. `rewrite` and `maxRows` are what an engine will
 * say of it.
 * @throws Error if the file is not an ONNX model, or a file with its weights is missing or too short
 */
export async function describeGraph({
  path,
  perRow,
  inputs = [],
  evenRows,
  constants,
}: GraphFile): Promise<GraphDescription> {
  const model = await readModel(path);
  const { graph } = model;
  if (!graph) throw new Error('the file has no graph');
  const sizes = new Map((await weightFiles(model, path)).map((file) => [file.path, file.bytes]));
  sizes.set(await realpath(path), (await stat(path)).size);
  const values = valuesOf(graph);
  renameInputs(graph, inputs);
  const rewrite = perRow === undefined ? undefined : rewriteInput(graph, perRow);
  return {
    ...values,
    bytes: [...sizes.values()].reduce((a, b) => a + b),
    parameters: graph.initializer.reduce((sum, { dims }) => sum + sizeOf(dims.map(Number)), 0),
    opset: Number(model.opsetImport.find(({ domain }) => domain === '')?.version ?? 0),
    gpuOperators: gpuOperators(optimizedOperators(graph)),
    rewrite,
    perBatch: graph.input.map(describeValue).some((input) => input.name === perRow && isShared(input)),
    tokens: embeddingRows(graph, 'input_ids'),
    maxRows: maxRows(fixedRows(valuesOf(graph, constants).inputs), evenRows),
  };
}
