import type { GraphInfo } from '../onnx/graphInfo.js';
import type { Tensor } from '../tensor/tensor.js';

/** Inputs that were registered with an engine, to be referred to and not sent again. */
export type ConditioningId = string;

/** Sums of an evaluation's input and its output, computed beside the network: what a step of first order comes to. */
export interface Sums {
  /** Name of an input that the evaluation has itself; it and the output are float32 of the same shape. */
  readonly input: string;
  /** a input + b output for each [a, b] */
  readonly weights: readonly (readonly [input: number, output: number])[];
}

/** One row's worth of work: a call of a graph without its batch axis. */
export interface Evaluation {
  readonly graph: string;
  /** Name of the output that is wanted. */
  readonly output: string;
  /** Each without the batch axis. One value for the whole batch, such as Optimum's timestep, is a tensor of shape []. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** Registered inputs, one set a row: the evaluation is run once with each (guidance has two). None: one row. */
  readonly conditioning?: readonly ConditioningId[];
  /** Combines the outputs of two rows into one, first + combine (second - first), beside the network: half as much to send. */
  readonly combine?: number | undefined;
  /** What is wanted in the output's place, where that is one row. */
  readonly sums?: Sums | undefined;
}

/** Evaluations that go through the network together: of one graph and output, with inputs of the same shapes. */
export type Batch = readonly Evaluation[];

/** What a batch gave. */
export interface BatchResult {
  /** [evaluation][row]: the output without its batch axis, one row of an evaluation that combines its two; or its sums */
  readonly outputs: readonly (readonly Float32Array[])[];
  /** Seconds inside the network. */
  readonly seconds: number;
  /** Rows that were run: those of the batch, and what fills up its bucket. */
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
