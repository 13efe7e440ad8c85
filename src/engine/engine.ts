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

/** A row of an output: float32, or uint8 where the output is `GraphInfo.image`. */
export type OutputRow = Float32Array | Uint8Array;

/** The result of a batch. */
export interface BatchResult {
  /** [evaluation][row]: the output without its batch axis, one row for each conditioning id of the evaluation. */
  readonly outputs: readonly (readonly OutputRow[])[];
  /** Seconds inside the network. */
  readonly seconds: number;
  /** Rows that ran, including the padding of the bucket. */
  readonly rows: number;
  /** Name of the device that ran it. */
  readonly device: string;
}

/** How to run a batch. */
export interface BatchOptions {
  /** Whether to run the batch again after its device failed; default: always. */
  readonly isWanted?: (() => boolean) | undefined;
  /** Priority of its most urgent evaluation, for devices that others use too; lower goes first, compared entry by entry. */
  readonly priority?: readonly number[] | undefined;
  /** Whether all its results may turn out to be useless. */
  readonly speculative?: boolean | undefined;
}

/** What devices take at once. */
export interface Capacity {
  /** Number of batches that can run at once. */
  readonly slots: number;
  /** Whether batches can run now, for health checks; absent: always. */
  readonly available?: boolean;
  /** Rows beyond which a larger batch has no advantage. */
  readonly maxRows: number;
  /** Batch sizes that batches are padded to, in rows, ascending; empty if any size will do. */
  readonly buckets: readonly number[];
}

/** Devices of an engine that take equally long, so that they are measured together. */
export interface DeviceGroup extends Capacity {
  /** What measurements of it are kept under. */
  readonly name: string;
  /** The names that its batches' results have. */
  readonly devices: readonly string[];
  /** Whether servers run its batches; default: this machine does. */
  readonly isRemote?: boolean;
  readonly graphs: ReadonlyMap<string, GraphInfo>;
  /** Runs a batch on one of them. @throws SrdsError ENGINE_FAILED if it fails, or none of them is ready any more */
  run(batch: Batch): Promise<BatchResult>;
}

/**
 * Evaluates batches: on local devices or on a server elsewhere. An implementation keeps registered inputs near the network
 * and does not block the calling thread.
 */
export interface Engine extends Capacity {
  /** Name for users and reports, such as `cpu` or `cuda:0,cuda:1`. */
  readonly device: string;
  /** The loaded graphs, by name. */
  readonly graphs: ReadonlyMap<string, GraphInfo>;
  /** What the devices that run a graph take at once; default: what the engine takes. */
  capacityOf?(graph: string): Capacity;
  /** The devices that run a graph, in groups of equal ones; default: all are equal. */
  groupsOf?(graph: string): readonly DeviceGroup[];
  /**
   * Bytes of memory that batches of a graph may still take; undefined, as without this method, where memory needs no watching: a GPU
   * gives up buckets that it has no memory for, and the memory of an endpoint is elsewhere.
   */
  freeMemory?(graph: string): number | undefined;
  /** Processes of devices here that were replaced so far, whose memory was freed; default: none ever is. */
  readonly restarts?: number;
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
   * @throws SrdsError ENGINE_FAILED if the device fails
   */
  run(batch: Batch, options?: BatchOptions): Promise<BatchResult>;
  /** Ends the engine and its processes; running batches reject. */
  close(): Promise<void>;
}

/** The rows of an output of float32. @throws Error if it is `GraphInfo.image` */
export function floatRows(rows: readonly OutputRow[]): readonly Float32Array[] {
  if (rows.every((row) => row instanceof Float32Array)) return rows;
  throw new Error('an output of images where one of float32 is needed');
}

/** The rows of `GraphInfo.image`. @throws Error if it is another output */
export function imageRows(rows: readonly OutputRow[]): readonly Uint8Array[] {
  if (rows.every((row) => row instanceof Uint8Array)) return rows;
  throw new Error('an output of float32 where one of images is needed');
}

/** Rows of an evaluation: one for each conditioning id, one without any. */
export function rowsOf({ conditioning }: Pick<Evaluation, 'conditioning'>): number {
  return conditioning?.length ?? 1;
}

/** Rows of all evaluations of a batch. */
export function batchRows(batch: Batch): number {
  return batch.reduce((sum, evaluation) => sum + rowsOf(evaluation), 0);
}

/** An engine, or a group of its devices, as far as it limits batches. */
export type Limits = Capacity & Pick<Engine, 'graphs' | 'capacityOf'>;

/** Batches of a graph that can run at once. */
export function slotsOf(engine: Limits, graph: string): number {
  return (engine.capacityOf?.(graph) ?? engine).slots;
}

/** Rows beyond which a larger batch of a graph has no advantage. */
export function maxRowsOf(engine: Limits, graph: string): number {
  const { maxRows } = engine.capacityOf?.(graph) ?? engine;
  return Math.min(maxRows, engine.graphs.get(graph)?.maxRows ?? Infinity);
}

/** Batch sizes that batches of a graph are padded to, in rows, ascending; empty if any size will do. */
export function bucketsOf(engine: Limits, graph: string): readonly number[] {
  const fixed = engine.graphs.get(graph)?.maxRows;
  return fixed === undefined ? (engine.capacityOf?.(graph) ?? engine).buckets : [fixed];
}

/** The devices that run a graph, in groups of equal ones. */
export function groupsOf(engine: Engine, graph: string): readonly DeviceGroup[] {
  const { device: name, slots, maxRows, buckets, graphs } = engine;
  const run = (batch: Batch) => engine.run(batch);
  return engine.groupsOf?.(graph) ?? [{ name, devices: [name], graphs, slots, maxRows, buckets, run }];
}
