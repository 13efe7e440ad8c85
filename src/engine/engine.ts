import type { GraphInfo } from '../onnx/graphInfo.js';
import type { Tensor } from '../tensor/tensor.js';

/** Refers to inputs that were registered with an engine, so that they are not sent again. */
export type ConditioningId = string;

/** A call of a graph with inputs that lack the batch axis: one row, or one row for each set of registered inputs. */
export interface Evaluation {
  readonly graph: string;
  /** Name of the output to return. */
  readonly output: string;
  /** By name, each without the batch axis. A scalar for the whole batch, such as Optimum's timestep, has shape []. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** Registered inputs: the evaluation has one row for each id (guidance needs two). Default: one row without any. */
  readonly conditioning?: readonly ConditioningId[];
  /**
   * Evaluations of other groups do not share a batch: their registered inputs differ in shape, or in the values of those without a
   * batch axis.
   */
  readonly group?: string | undefined;
}

/** Evaluations that run together: of the same graph and output, with inputs of the same shapes. */
export type Batch = readonly Evaluation[];

/** The result of a batch. */
export interface BatchResult {
  /** [evaluation][row]: the output without its batch axis, one row for each conditioning id of the evaluation. */
  readonly outputs: readonly (readonly Float32Array[])[];
  /** Seconds inside the network. */
  readonly seconds: number;
  /** Rows that ran, including the padding of the bucket. */
  readonly rows: number;
  /** Name of the device that ran it. */
  readonly device: string;
}

/**
 * Evaluates batches: on local devices or on a server elsewhere. An implementation keeps registered inputs near the network
 * and does not block the calling thread.
 */
export interface Engine {
  /** Name for users and reports, such as `cpu` or `cuda:0,cuda:1`. */
  readonly device: string;
  /** The loaded graphs, by name. */
  readonly graphs: ReadonlyMap<string, GraphInfo>;
  /** Number of batches that can run at once. */
  readonly slots: number;
  /** Whether batches can run now, for health checks; absent: always. */
  readonly available?: boolean;
  /** Rows beyond which a larger batch has no advantage. */
  readonly maxRows: number;
  /** Batch sizes that batches are padded to, in rows, ascending; empty if any size will do. */
  readonly buckets: readonly number[];
  /**
   * Bytes of memory that batches may still take; undefined, as without this method, where memory needs no watching: a GPU gives up
   * buckets that it has no memory for.
   */
  freeMemory?(): number | undefined;
  /**
   * Loads graphs by name; loaded ones stay as they are.
   * @throws SrdsError MODEL_INVALID if a graph cannot be used
   */
  load(names: readonly string[]): Promise<void>;
  /** Frees the memory of graphs until they are loaded again; none of their batches may be running. */
  unload(names: readonly string[]): Promise<void>;
  /** Registers inputs by name, each without the batch axis, until they are released. */
  register(inputs: Readonly<Record<string, Tensor>>): ConditioningId;
  /** Releases registered inputs; batches that were started before can still use them. */
  release(id: ConditioningId): void;
  /**
   * Runs a batch.
   * @param isWanted whether to run the batch again after its device failed; default: always
   * @throws SrdsError ENGINE_FAILED if the device fails
   */
  run(batch: Batch, isWanted?: () => boolean): Promise<BatchResult>;
  /** Ends the engine and its processes; running batches reject. */
  close(): Promise<void>;
}

/** Rows of an evaluation: one for each conditioning id, one without any. */
export function rowsOf({ conditioning }: Pick<Evaluation, 'conditioning'>): number {
  return conditioning?.length ?? 1;
}

/** Rows beyond which a larger batch of a graph has no advantage. */
export function maxRowsOf({ maxRows, graphs }: Pick<Engine, 'maxRows' | 'graphs'>, graph: string): number {
  return Math.min(maxRows, graphs.get(graph)?.maxRows ?? Infinity);
}

/** Batch sizes that batches of a graph are padded to, in rows, ascending; empty if any size will do. */
export function bucketsOf({ buckets, graphs }: Pick<Engine, 'buckets' | 'graphs'>, graph: string): readonly number[] {
  const fixed = graphs.get(graph)?.maxRows;
  return fixed === undefined ? buckets : [fixed];
}
