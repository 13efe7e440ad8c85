import { once } from 'node:events';
import { open, realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { clone, create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorShapeProto_DimensionSchema,
  type ModelProto,
  type TensorProto,
} from 'onnx-buf';
import type { DeviceKind, Fused, GraphFile, GraphInfo, Precision, Rewrite } from './graphInfo.js';
import { hasInnerGraphs } from './constants.js';
import { describeValue } from './describeValue.js';
import { fuse } from './fuse/fuse.js';
import { computeInHalf, singleInterface, storedInHalf } from './half.js';
import { rewriteInput } from './rewrite.js';
import { indexConditioning } from './indexedConditioning.js';

export type { ModelProto };

/** An ONNX file, ready to be opened. */
export interface PreparedModel {
  /**
   * What a session opens: the file, or a graph in memory whose weights stay in their files.
   * @param bucket for a session that takes batches of one size only; without a graph in memory it is not used
   */
  readonly source: (bucket?: BucketShape) => string | Uint8Array;
  /** Folder of the weights of a graph in memory. */
  readonly weights?: string;
  readonly rewrite?: Rewrite | undefined;
  /** What it was made to compute in. */
  readonly precision?: Precision;
  /** What was fused in it. */
  readonly fused?: Fused | undefined;
  /** Whether inputs of a graph in memory can be indexed (`indexConditioning`): not if subgraphs read them. */
  readonly canIndex?: boolean;
  /** What a graph in memory takes and gives. */
  readonly values?: Pick<GraphInfo, 'inputs' | 'outputs'>;
}

/** What a session is opened for. */
export interface BucketShape {
  readonly rows: number;
  /** Of the inputs, by name. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** Names of the inputs that are indexed (`indexConditioning`). */
  readonly indexed: readonly string[];
}

/** Read at a time: the system takes no more than 2 GB. */
const CHUNK_BYTES = 1 << 28;
/** Tensors below stay in the graph: among them are the shapes that ONNX Runtime looks at before it runs. */
const INLINE_BYTES = 1024;

/**
 * Prepares an ONNX file for sessions. What has to be changed (an input with one value for the whole batch where one a row
 * is wanted, precision, float16 inputs) is changed in memory; nothing is written, and no weight is copied: the new graph
 * refers to the weights in their files.
 * @param how `given` opens the file as it is if that will do, `inMemory` never does, `fusedFor` writes it as a device runs it best
 * @throws Error if the file is no ONNX model, or cannot be computed in the precision that is asked for
 */
export async function prepareModel(
  file: GraphFile,
  how: 'given' | 'inMemory' | { readonly fusedFor: DeviceKind },
): Promise<PreparedModel> {
  const { path, perRow, precision } = file;
  const real = await realpath(path);
  // Weights beside a link are links too, and ONNX Runtime takes none that lie in another folder.
  const linked = dirname(real) !== (await realpath(dirname(path)));
  const asItIs = { source: () => path };
  if (perRow === undefined && precision !== 'float16' && !linked && how === 'given') return asItIs;
  const bytes = await readWhole(real);
  const model = fromBinary(ModelProtoSchema, bytes);
  const { graph } = model;
  if (!graph) throw new Error('no graph in it');
  const rewrite = perRow === undefined ? undefined : rewriteInput(graph, perRow);
  const half = precision === 'float16' || (precision === 'auto' && storedInHalf(graph));
  const changed = [singleInterface(graph), rewrite?.status === 'rewritten', half].includes(true);
  if (!changed && !linked && how === 'given') return { ...asItIs, rewrite };
  const weights = await leaveWeights(model, bytes, path);
  if (weights === undefined) {
    if (precision === 'float16') throw new Error('its weights lie in several folders: give it as a float16 graph');
    return { ...asItIs, rewrite: rewrite && scattered(rewrite.input) };
  }
  const fused = typeof how === 'string' ? undefined : fuse(model, how.fusedFor);
  const why = half ? computeInHalf(graph) : undefined;
  if (why !== undefined && precision === 'float16') throw new Error(`it cannot run in float16: ${why}`);
  const light = fromBinary(ModelProtoSchema, toBinary(ModelProtoSchema, model));
  await release(bytes);
  const source = (bucket?: BucketShape) =>
    toBinary(ModelProtoSchema, bucket ? pinned(clone(ModelProtoSchema, light), bucket) : light);
  // Weights that can be given as inputs have their value already.
  const known = new Set(graph.initializer.map(({ name }) => name));
  const inputs = graph.input.filter(({ name }) => !known.has(name)).map(describeValue);
  const values = { inputs, outputs: graph.output.map(describeValue) };
  return {
    source,
    weights,
    rewrite,
    fused,
    values,
    canIndex: !hasInnerGraphs(graph),
    ...(half && why === undefined && { precision: 'float16' as const }),
  };
}

/** The model with the shapes of its inputs fixed. What they lead to is then computed once, as a session opens. */
function pinned(model: ModelProto, { rows, shapes, indexed }: BucketShape): ModelProto {
  for (const { name, type } of model.graph?.input ?? []) {
    const dims = shapes.get(name);
    if (!dims || type?.value.case !== 'tensorType' || !type.value.value.shape) continue;
    type.value.value.shape.dim = dims.map((dim) =>
      create(TensorShapeProto_DimensionSchema, { value: { case: 'dimValue', value: BigInt(dim) } }),
    );
  }
  if (model.graph) indexConditioning(model.graph, indexed, rows);
  return model;
}

/** An ONNX file's graph; weights in the file are read with it. @throws Error if the file is no ONNX model */
export async function readModel(path: string): Promise<ModelProto> {
  return fromBinary(ModelProtoSchema, await readWhole(path));
}

/** A file in a buffer of its own, which can be let go. */
async function readWhole(path: string): Promise<Buffer<ArrayBuffer>> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const bytes = Buffer.from(new ArrayBuffer(size));
    for (let at = 0; at < size;) {
      const { bytesRead } = await file.read(bytes, at, Math.min(size - at, CHUNK_BYTES), at);
      if (bytesRead === 0) throw new Error('it became shorter while it was read');
      at += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

/** Names of the files beside the graph that hold weights. */
export function weightFiles({ graph }: ModelProto): string[] {
  const names = (graph?.initializer ?? []).flatMap((tensor) => locationOf(tensor) ?? []);
  return [...new Set(names)];
}

/**
 * Replaces the weights in a graph by references to where they are: in the file itself, or in those that it refers to.
 * @returns the folder of them all; undefined if they lie in several, of which a session can have one
 * @throws Error if one lies outside the graph's folder
 */
async function leaveWeights(model: ModelProto, bytes: Uint8Array, path: string): Promise<string | undefined> {
  const files = new Map<string, string>();
  const locate = async (name: string): Promise<string> => {
    if (isAbsolute(name) || name.split(/[/\\]/).includes('..')) throw new Error(`weights outside its folder: ${name}`);
    const known = files.get(name) ?? (await realpath(join(dirname(path), name)).catch(() => absentWeights(name)));
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
  return folders.size > 1 ? undefined : ([...folders][0] ?? dirname(path));
}

/** Gives the memory of a file back at once, not when the garbage collector comes round: the session needs it. */
async function release({ buffer }: Buffer<ArrayBuffer>): Promise<void> {
  // A message that no one receives takes it along.
  const { port1, port2 } = new MessageChannel();
  const closed = once(port1, 'close');
  port1.postMessage(undefined, [buffer]);
  port2.close();
  await closed;
}

/** @throws Error that names the file */
export function absentWeights(name: string): never {
  throw new Error(`no ${name} beside it, where its weights should be`);
}

function scattered(input: string): Rewrite {
  return { status: 'impossible', input, why: 'its weights lie in several folders' };
}

function locationOf(tensor: TensorProto): string | undefined {
  if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) return undefined;
  return tensor.externalData.find(({ key }) => key === 'location')?.value;
}
