import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sizeOf } from '../tensor/tensor.js';
import type { GraphFile, GraphInfo } from './graphInfo.js';
import { describeValue } from './describeValue.js';
import { absentWeights, readModel, weightFiles } from './prepare.js';
import { rewriteInput } from './rewrite.js';

/** What an ONNX file holds. */
export interface GraphDescription extends GraphInfo {
  /** Of the file and of those beside it with its weights. */
  readonly bytes: number;
  /** Numbers in its weights. */
  readonly parameters: number;
  /** Version of the ONNX operators. */
  readonly opset: number;
}

/**
 * What an ONNX file holds, without a session (the file is read whole): as the file has it, and what would become of an
 * input that is to have one value a row.
 * @throws Error if it is no ONNX model, or a file with its weights is missing
 */
export async function describeGraph({ path, perRow }: GraphFile): Promise<GraphDescription> {
  const model = await readModel(path);
  const { graph } = model;
  if (!graph) throw new Error('no graph in it');
  const sizes = [(await stat(path)).size];
  for (const name of weightFiles(model)) {
    const { size } = await stat(join(dirname(path), name)).catch(() => absentWeights(name));
    sizes.push(size);
  }
  const described = {
    inputs: graph.input.map(describeValue),
    outputs: graph.output.map(describeValue),
    bytes: sizes.reduce((a, b) => a + b),
    parameters: graph.initializer.reduce((sum, { dims }) => sum + sizeOf(dims.map(Number)), 0),
    opset: Number(model.opsetImport.find(({ domain }) => domain === '')?.version ?? 0),
  };
  return { ...described, rewrite: perRow === undefined ? undefined : rewriteInput(graph, perRow) };
}
