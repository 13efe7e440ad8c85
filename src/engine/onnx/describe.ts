import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TensorProto_DataType, type ValueInfoProto } from 'onnx-buf';
import type { GraphFile, GraphInfo, TensorInfo } from '../engine.js';
import { absentWeights, readModel, weightFiles } from './model.js';
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

const TYPES: Readonly<Partial<Record<number, string>>> = {
  [TensorProto_DataType.FLOAT]: 'float32',
  [TensorProto_DataType.FLOAT16]: 'float16',
  [TensorProto_DataType.DOUBLE]: 'float64',
  [TensorProto_DataType.INT32]: 'int32',
  [TensorProto_DataType.INT64]: 'int64',
  [TensorProto_DataType.BOOL]: 'bool',
};

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
    inputs: graph.input.map(describe),
    outputs: graph.output.map(describe),
    bytes: sizes.reduce((a, b) => a + b),
    parameters: graph.initializer.reduce((sum, { dims }) => sum + dims.reduce((n, dim) => n * Number(dim), 1), 0),
    opset: Number(model.opsetImport.find(({ domain }) => domain === '')?.version ?? 0),
  };
  return { ...described, rewrite: perRow === undefined ? undefined : rewriteInput(graph, perRow) };
}

function describe({ name, type }: ValueInfoProto): TensorInfo {
  if (type?.value.case !== 'tensorType') return { name, type: 'not a tensor', dims: [] };
  const { elemType, shape } = type.value.value;
  const dims = (shape?.dim ?? []).map(({ value }) =>
    value.case === 'dimValue' ? Number(value.value) : (value.value ?? '?'),
  );
  return { name, type: TYPES[elemType] ?? `type ${elemType}`, dims };
}
