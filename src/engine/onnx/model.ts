import { readFile, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorShapeProto_DimensionSchema,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from 'onnx-buf';
import { isShared, type Rewrite } from '../engine.js';

export type { ModelProto };

/** An ONNX file, ready to be opened. */
export interface PreparedModel {
  /** The file, or a graph in memory whose weights stay in their files. */
  readonly source: string | Uint8Array;
  /** Folder of those files. */
  readonly weights?: string;
  readonly rewrite?: Rewrite;
}

/** Tensors below stay in the graph: among them are the shapes that ONNX Runtime looks at before it runs. */
const INLINE_BYTES = 1024;

/**
 * Prepares an ONNX file for a session. If an input has one value for the whole batch where one a row is wanted, the graph
 * is rewritten in memory; nothing is written, and no weight is copied: the new graph refers to the weights in their files.
 * @param perRow name of that input
 * @throws Error if the file is no ONNX model
 */
export async function prepareModel(path: string, perRow?: string): Promise<PreparedModel> {
  const file = await realpath(path);
  // Weights beside a link are links too, and ONNX Runtime takes none that lie in another folder.
  const linked = dirname(file) !== (await realpath(dirname(path)));
  if (perRow === undefined && !linked) return { source: path };
  const bytes = await readFile(file);
  const model = fromBinary(ModelProtoSchema, bytes);
  const { graph } = model;
  if (!graph) throw new Error('no graph in it');
  const rewrite = perRow === undefined ? undefined : rewriteInput(graph, perRow);
  if (rewrite?.status !== 'rewritten' && !linked) return { source: path, ...(rewrite && { rewrite }) };
  const weights = await leaveWeights(model, bytes, path);
  return { source: toBinary(ModelProtoSchema, model), weights, ...(rewrite && { rewrite }) };
}

/** An ONNX file's graph, without its weights being read. @throws Error if the file is no ONNX model */
export async function readModel(path: string): Promise<ModelProto> {
  return fromBinary(ModelProtoSchema, await readFile(path));
}

/** Names of the files beside the graph that hold weights. */
export function weightFiles({ graph }: ModelProto): string[] {
  const names = (graph?.initializer ?? []).flatMap((tensor) => locationOf(tensor) ?? []);
  return [...new Set(names)];
}

/**
 * Gives an input one value a row instead of one for the batch. Optimum's UNets take a scalar timestep, which is made a
 * vector of one, cast, and then expanded to the batch: a vector of the batch's length goes the same way.
 * @returns what was done; undefined if the input has one value a row already, or is not there
 */
export function rewriteInput(graph: GraphProto, name: string): Rewrite | undefined {
  const type = graph.input.find((input) => input.name === name)?.type?.value;
  if (type?.case !== 'tensorType') return undefined;
  const { shape } = type.value;
  const dims = (shape?.dim ?? []).map(({ value }) => (value.case === 'dimValue' ? Number(value.value) : 'free'));
  if (!shape || !isShared({ dims })) return undefined;

  const unsqueezed: NodeProto[] = [];
  const reached = new Set<string>();
  const follow = [{ value: name, scalar: dims.length === 0 }];
  for (const { value, scalar } of follow) {
    reached.add(value);
    for (const node of graph.node.filter(({ input }) => input.includes(value))) {
      const through = (nowScalar: boolean) => follow.push({ value: node.output[0], scalar: nowScalar });
      if (node.opType === 'Cast' || node.opType === 'Identity') through(scalar);
      else if (scalar && (node.opType === 'Unsqueeze' || node.opType === 'Reshape')) {
        unsqueezed.push(node);
        through(false);
      } else if (node.opType !== 'Expand') {
        return { status: 'impossible', input: name, why: `${name} reaches ${node.opType} before it is expanded` };
      }
    }
  }
  if (graph.output.some((output) => reached.has(output.name))) {
    return { status: 'impossible', input: name, why: `${name} is given out unchanged` };
  }
  for (const node of unsqueezed) {
    Object.assign(node, { opType: 'Identity', input: node.input.slice(0, 1), attribute: [] });
  }
  shape.dim = [create(TensorShapeProto_DimensionSchema, { value: { case: 'dimParam', value: 'batch_size' } })];
  graph.valueInfo = graph.valueInfo.filter((info) => !reached.has(info.name));
  return { status: 'rewritten', input: name };
}

/**
 * Replaces the weights in a graph by references to where they are: in the file itself, or in those that it refers to.
 * @returns the folder of them all
 */
async function leaveWeights(model: ModelProto, bytes: Uint8Array, path: string): Promise<string> {
  const files = new Map<string, string>();
  const locate = async (name: string): Promise<string> => {
    const known = files.get(name) ?? (await realpath(join(dirname(path), name)));
    files.set(name, known);
    return known;
  };
  for (const tensor of model.graph?.initializer ?? []) {
    const outside = locationOf(tensor);
    if (outside !== undefined) {
      const entry = tensor.externalData.find(({ key }) => key === 'location');
      if (entry) entry.value = basename(await locate(outside));
    } else if (tensor.rawData.byteLength > INLINE_BYTES) {
      const { byteOffset, byteLength } = tensor.rawData;
      tensor.externalData = Object.entries({
        location: basename(await locate(basename(path))),
        offset: byteOffset - bytes.byteOffset,
        length: byteLength,
      }).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value: String(value) }));
      tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
      tensor.rawData = new Uint8Array(0);
    }
  }
  const folders = new Set([...files.values()].map(dirname));
  if (folders.size > 1) throw new Error(`its weights lie in several folders: ${[...folders].join(', ')}`);
  return [...folders][0] ?? dirname(path);
}

function locationOf(tensor: TensorProto): string | undefined {
  if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) return undefined;
  return tensor.externalData.find(({ key }) => key === 'location')?.value;
}
