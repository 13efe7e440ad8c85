import { clone, create, toBinary } from '@bufbuild/protobuf';
import {
  ModelProtoSchema,
  TensorShapeProto_DimensionSchema,
  type GraphProto,
  type ModelProto,
  type TensorShapeProto_Dimension,
} from 'onnx-buf';
import { widenBfloat16 } from './bfloat16.js';
import { hasInnerGraphs } from './constants.js';
import { fixedRows, valuesOf } from './describeValue.js';
import { dynamicOperators } from './dynamicOperators.js';
import { optimizedOperators, type OptimizedOperator } from './foreignOperators.js';
import { fuse } from './fuse/fuse.js';
import { KERNEL_DOMAIN } from './fuse/kernels/domain.js';
import type { DeviceKind, Fused, GraphFile, GraphInfo, Precision, Rewrite } from './graphInfo.js';
import { computeInHalf, storedInHalf } from './half.js';
import { appendImageOutput } from './imageOutput.js';
import { indexConditioning } from './indexedConditioning.js';
import { renameInputs } from './matchInputs.js';
import { plainInterface } from './plainInterface.js';
import { readModel } from './readModel.js';
import { rewriteInput } from './rewrite.js';
import { shareConstants, type ConstantPart } from './sharedConstants.js';
import { relocateWeights, weightFiles } from './weights.js';

/** A graph that sessions can open, and how they get it. */
export interface GraphSource {
  /**
   * Returns the graph that a session opens.
   * @param bucket for a session that takes batches of one size only
   */
  readonly source: (bucket?: BucketShape) => Uint8Array;
  /** The same graph for sessions that share its large constants; undefined if it has none. */
  readonly share: () => SharedSource | undefined;
}

/** An ONNX graph in memory that sessions can open. Its weights stay in their files. */
export interface PreparedModel extends GraphSource {
  /** The graph for sessions that have this package's kernels too; undefined if it needs none of them. */
  readonly withKernels: () => GraphSource | undefined;
  /** The folder that the names of weight files are relative to. */
  readonly weights: string;
  /** Paths of the graph's file and of those with its weights. */
  readonly files: readonly string[];
  readonly rewrite?: Rewrite | undefined;
  /** The precision that the graph was converted to. */
  readonly precision?: Precision;
  /** The fusions in it. */
  readonly fused?: Fused | undefined;
  /** Name of an output with images in 8 bits (`GraphInfo.image`). */
  readonly image?: string | undefined;
  /** Whether inputs can be indexed (`indexConditioning`): not if subgraphs read them. */
  readonly canIndex: boolean;
  /** Rows of every batch, if the graph fixes them. */
  readonly rows: number | undefined;
  readonly values: Pick<GraphInfo, 'inputs' | 'outputs'>;
  /** Operators that ONNX Runtime's optimizer put into the file. */
  readonly optimizedOperators: readonly OptimizedOperator[];
  /** Operators that keep it from being captured as a CUDA graph. */
  readonly dynamicOperators: readonly string[];
}

/** A graph whose large constants are computed once and given to each session. */
export interface SharedSource {
  readonly source: (bucket: BucketShape) => Uint8Array;
  readonly parts: readonly ConstantPart[];
  /** Paths of the graph's file and of those with its weights. */
  readonly files: readonly string[];
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
 * Prepares an ONNX file for sessions. Changes (names and types of inputs, one value a row for an input that is shared by the batch,
 * precision) are made in memory. Nothing is written and no weight is read: the new graph refers to the weights in their files.
 * @param device that it is prepared for: whether its operators are fused for it, and whether it gives images in 8 bits
 * @throws Error if the file is not an ONNX model, or cannot be computed in the requested precision
 */
export async function prepareModel(
  file: GraphFile,
  device?: { readonly kind: DeviceKind; readonly fused: boolean },
): Promise<PreparedModel> {
  const { path, perRow, precision, inputs = [], constants } = file;
  const model = await readModel(path);
  const { graph } = model;
  if (!graph) throw new Error('the file has no graph');
  const withWeights = await weightFiles(model, path);
  const weights = relocateWeights(model, withWeights, path);
  renameInputs(graph, inputs);
  const rewrite = perRow === undefined ? undefined : rewriteInput(graph, perRow);
  widenBfloat16(graph);
  plainInterface(graph);
  const operators = optimizedOperators(graph);
  const optimized = operators.length > 0;
  const inHalf = storedInHalf(graph);
  const half = precision === 'float16' ? !(optimized && inHalf) : precision === 'auto' && inHalf && !optimized;
  const mayFuse = device?.fused === true && !optimized;
  const unfused = mayFuse && half && device.kind === 'cuda' ? clone(ModelProtoSchema, model) : undefined;
  const fused = mayFuse ? fuse(model, device.kind) : undefined;
  const why = half ? (optimized ? 'it was optimized in another precision' : computeInHalf(graph)) : undefined;
  if (why !== undefined && precision === 'float16') throw new Error(`the graph cannot run in float16: ${why}`);
  const values = valuesOf(graph, constants);
  const rows = fixedRows(values.inputs);
  const image = complete(model, rows, file, device?.kind);
  const files = [...new Set([path, ...withWeights.map((one) => one.path)])];
  return {
    ...sourceOf(model, files),
    withKernels: () => {
      if (!unfused || why !== undefined) return undefined;
      const own = inOwnKernels(unfused, rows, file);
      return own && sourceOf(own, files);
    },
    weights,
    files,
    rewrite,
    fused,
    values,
    image,
    rows,
    optimizedOperators: operators,
    dynamicOperators: dynamicOperators(graph),
    canIndex: !hasInnerGraphs(graph),
    ...(half && why === undefined && { precision: 'float16' as const }),
  };
}

function sourceOf(model: ModelProto, files: readonly string[]): GraphSource {
  return {
    source: (bucket) => (bucket ? fixedSource(model, bucket) : toBinary(ModelProtoSchema, model)),
    share: () => {
      const shared = shareConstants(model);
      return shared && { source: (bucket) => fixedSource(shared.model, bucket), parts: shared.parts, files };
    },
  };
}

/** Converts a graph for CUDA to half precision and to this package's kernels. @returns undefined if it needs none of them */
function inOwnKernels(unfused: ModelProto, rows: number | undefined, file: GraphFile): ModelProto | undefined {
  const model = clone(ModelProtoSchema, unfused);
  const { graph } = model;
  fuse(model, 'cuda', 'own');
  if (!graph?.node.some(({ domain }) => domain === KERNEL_DOMAIN)) return undefined;
  computeInHalf(graph);
  complete(model, rows, file, 'cuda');
  return model;
}

/**
 * Frees the rows of a graph that fixes them, and appends images in 8 bits for the devices that give them.
 * @returns the name of that output, if there is one
 */
function complete(
  model: ModelProto,
  rows: number | undefined,
  { constants, imageOn }: GraphFile,
  kind: DeviceKind | undefined,
): string | undefined {
  if (rows !== undefined && model.graph) freeRows(model.graph, constants);
  return kind && imageOn?.includes(kind) ? appendImageOutput(model) : undefined;
}

/**
 * Declares the first axis of all inputs as free. A batch has the rows that the file fixes all the same, but ONNX Runtime's optimizer
 * fails on some graphs of fixed batches, and rounds differently in others.
 */
function freeRows(graph: GraphProto, constants: readonly string[] = []): void {
  for (const { name, type } of graph.input) {
    if (constants.includes(name)) continue;
    const shape = type?.value.case === 'tensorType' ? type.value.value.shape : undefined;
    if (shape && shape.dim.length > 0) shape.dim[0] = axis({ case: 'dimParam', value: 'batch_size' });
  }
}

function axis(value: TensorShapeProto_Dimension['value']): TensorShapeProto_Dimension {
  return create(TensorShapeProto_DimensionSchema, { value });
}

function fixedSource(model: ModelProto, bucket: BucketShape): Uint8Array {
  return toBinary(ModelProtoSchema, withFixedShapes(clone(ModelProtoSchema, model), bucket));
}

/** Fixes the shapes of a model's inputs. ONNX Runtime then computes what depends on them once, when a session opens. */
function withFixedShapes(model: ModelProto, { rows, shapes, indexed }: BucketShape): ModelProto {
  for (const { name, type } of model.graph?.input ?? []) {
    const dims = shapes.get(name);
    if (!dims || type?.value.case !== 'tensorType' || !type.value.value.shape) continue;
    type.value.value.shape.dim = dims.map((dim) => axis({ case: 'dimValue', value: BigInt(dim) }));
  }
  if (model.graph) indexConditioning(model.graph, indexed, rows);
  return model;
}
