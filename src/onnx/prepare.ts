import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { clone, create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, TensorShapeProto_DimensionSchema, type ModelProto } from 'onnx-buf';
import { hasInnerGraphs } from './constants.js';
import { describeValue } from './describeValue.js';
import { fuse } from './fuse/fuse.js';
import type { DeviceKind, Fused, GraphFile, GraphInfo, Precision, Rewrite } from './graphInfo.js';
import { computeInHalf, singleInterface, storedInHalf } from './half.js';
import { indexConditioning } from './indexedConditioning.js';
import { freeBuffer, readWhole } from './readModel.js';
import { rewriteInput } from './rewrite.js';
import { externalizeWeights } from './weights.js';

/** An ONNX file that sessions can open. */
export interface PreparedModel {
  /**
   * Returns what a session opens: the path of the file, or a graph in memory whose weights stay in their files.
   * @param bucket for a session that takes batches of one size only; ignored without a graph in memory
   */
  readonly source: (bucket?: BucketShape) => string | Uint8Array;
  /** Folder of the weights, for a graph in memory. */
  readonly weights?: string;
  readonly rewrite?: Rewrite | undefined;
  /** The precision that the graph was converted to. */
  readonly precision?: Precision;
  /** The fusions in it. */
  readonly fused?: Fused | undefined;
  /** Whether inputs of a graph in memory can be indexed (`indexConditioning`): not if subgraphs read them. */
  readonly canIndex?: boolean;
  /** Inputs and outputs of a graph in memory. */
  readonly values?: Pick<GraphInfo, 'inputs' | 'outputs'>;
}

/** The batches that a session is opened for. */
export interface BucketShape {
  readonly rows: number;
  /** Shapes of the inputs, by name. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** Names of the inputs that are indexed (`indexConditioning`). */
  readonly indexed: readonly string[];
}

/**
 * Prepares an ONNX file for sessions. Changes (one value a row for an input that is shared by the batch, precision, float16
 * inputs) are made in memory. Nothing is written and no weight is copied: the new graph refers to the weights in their files.
 * @param how `given` opens the file itself if no change is needed, `inMemory` never does, `fusedFor` fuses operators for a device
 * @throws Error if the file is not an ONNX model, or cannot be computed in the requested precision
 */
export async function prepareModel(
  file: GraphFile,
  how: 'given' | 'inMemory' | { readonly fusedFor: DeviceKind },
): Promise<PreparedModel> {
  const { path, perRow, precision } = file;
  const real = await realpath(path);
  // Next to a link, weights are links too, and ONNX Runtime rejects weights in another folder.
  const linked = dirname(real) !== (await realpath(dirname(path)));
  const asItIs = { source: () => path };
  if (perRow === undefined && precision !== 'float16' && !linked && how === 'given') return asItIs;
  const bytes = await readWhole(real);
  const model = fromBinary(ModelProtoSchema, bytes);
  const { graph } = model;
  if (!graph) throw new Error('the file has no graph');
  const rewrite = perRow === undefined ? undefined : rewriteInput(graph, perRow);
  const half = precision === 'float16' || (precision === 'auto' && storedInHalf(graph));
  const changed = [singleInterface(graph), rewrite?.status === 'rewritten', half].includes(true);
  if (!changed && !linked && how === 'given') return { ...asItIs, rewrite };
  const weights = await externalizeWeights(model, bytes, path);
  if (weights === undefined) {
    if (precision === 'float16') throw new Error('the weights are in several folders; provide a float16 graph instead');
    return { ...asItIs, rewrite: rewrite && scattered(rewrite.input) };
  }
  const fused = typeof how === 'string' ? undefined : fuse(model, how.fusedFor);
  const why = half ? computeInHalf(graph) : undefined;
  if (why !== undefined && precision === 'float16') throw new Error(`the graph cannot run in float16: ${why}`);
  const light = fromBinary(ModelProtoSchema, toBinary(ModelProtoSchema, model));
  await freeBuffer(bytes);
  const source: PreparedModel['source'] = (bucket) =>
    toBinary(ModelProtoSchema, bucket ? withFixedShapes(clone(ModelProtoSchema, light), bucket) : light);
  // Inputs that are initializers too have a value already.
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

/** Fixes the shapes of a model's inputs. ONNX Runtime then computes what depends on them once, when a session opens. */
function withFixedShapes(model: ModelProto, { rows, shapes, indexed }: BucketShape): ModelProto {
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

function scattered(input: string): Rewrite {
  return { status: 'impossible', input, why: 'the weights are in several folders' };
}
