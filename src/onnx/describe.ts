import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sizeOf } from '../tensor/tensor.js';
import type { GraphFile, GraphInfo } from './graphInfo.js';
import { describeValue } from './describeValue.js';
import { readModel } from './readModel.js';
import { rewriteInput } from './rewrite.js';
import { missingWeights, weightFiles } from './weights.js';

/** Description of an ONNX file. */
export interface GraphDescription extends GraphInfo {
  /** Size of the file and of its external weights. */
  readonly bytes: number;
  /** Elements of all weights. */
  readonly parameters: number;
  /** Version of the ONNX operator set. */
  readonly opset: number;
}

/**
 * Describes an ONNX file as it is, without a session; reads the whole file. `rewrite` is what `rewriteInput` would do.
 * @throws Error if the file is not an ONNX model, or a file with its weights is missing
 */
export async function describeGraph({ path, perRow }: GraphFile): Promise<GraphDescription> {
  const model = await readModel(path);
  const { graph } = model;
  if (!graph) throw new Error('the file has no graph');
  const sizes = [(await stat(path)).size];
  for (const name of weightFiles(model)) {
    const { size } = await stat(join(dirname(path), name)).catch(() => missingWeights(name));
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
