import type { GraphInfo } from '../onnx/graphInfo.js';
import type { Tensor } from '../tensor/tensor.js';

/** Inputs that were registered with an engine, to be referred to and not sent again. */
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
 * Something that evaluates batches: a local device, several, or a server elsewhere. Whoever implements it keeps
 * registered inputs near the network and runs off the caller's thread.
 */
export interface Engine {
  /** Names for people and reports, such as `cpu` or `cuda:0,cuda:1`. */
  readonly device: string;
  /** The graphs that are loaded. */
  readonly graphs: ReadonlyMap<string, GraphInfo>;
  /** Batches that can be under way at once. */
  readonly slots: number;
  /** Rows of a batch beyond which more rows only take longer. */
  readonly maxRows: number;
  /** Sizes to which batches are filled up, in rows, ascending; none where any size will do. */
  readonly buckets: readonly number[];
  /**
   * Loads graphs, by their names; those that are loaded stay as they are.
   * @throws SrdsError MODEL_INVALID if one cannot be used
   */
  load(names: readonly string[]): Promise<void>;
  /** Frees the memory of graphs until they are loaded again; none of them may be under way. */
  unload(names: readonly string[]): Promise<void>;
  /** Registers inputs, each without the batch axis, until they are released. */
  register(inputs: Readonly<Record<string, Tensor>>): ConditioningId;
  release(id: ConditioningId): void;
  /**
   * @param isWanted asked before a batch whose device failed is run again; default: it is
   * @throws SrdsError ENGINE_FAILED if the device fails
   */
  run(batch: Batch, isWanted?: () => boolean): Promise<BatchResult>;
  /** Ends the engine and its processes; batches under way reject. */
  close(): Promise<void>;
}
