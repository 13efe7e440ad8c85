import type { GraphFile, GraphInfo } from '../onnx/graphInfo.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Batch, BatchOptions, BatchResult, ConditioningId } from './engine.js';

/** What the devices of an engine share. */
export interface EngineState {
  readonly files: Readonly<Record<string, GraphFile>>;
  /** The loaded graphs, by name. */
  readonly loaded: ReadonlyMap<string, GraphInfo>;
  readonly registered: ReadonlyMap<ConditioningId, Readonly<Record<string, Tensor>>>;
}

/** What a device reports. */
export interface DeviceReports {
  readonly onWarning: (message: string) => void;
  /** Called with the name of a device whose process is replaced. */
  readonly onRestart: (device: string) => void;
}

/** How a device runs a batch. */
export interface DeviceBatchOptions extends BatchOptions {
  /** Abandons the batch, where a device can. */
  readonly signal?: AbortSignal | undefined;
}

/** Load of opening a bucket, in pending batches. */
export const OPENING_LOAD = 100;

/** A device of an engine: a processor of this machine, or an endpoint of a server. */
export interface EngineDevice {
  readonly name: string;
  /** Batches that it runs at once. */
  readonly slots: number;
  /** Rows beyond which a larger batch has no advantage. */
  readonly maxRows: number;
  /** Batch sizes that batches are padded to, in rows, ascending; empty if any size will do. */
  readonly buckets: readonly number[];
  /** Pending and running batches for each slot; infinite while the device takes none. */
  readonly load: number;
  /** Whether it will not recover by itself: it runs no batch again unless the user mends the cause. */
  readonly isLost: boolean;
  /** Whether it can run a batch now, for health checks. */
  readonly isAvailable: boolean;
  /** Whether it runs a graph, once that is loaded. */
  serves(graph: string): boolean;
  /**
   * Loads graphs that it serves.
   * @throws DeviceFailure if the device may be able to later; SrdsError MODEL_INVALID, ENGINE_FAILED, DEVICE_UNAVAILABLE
   */
  loadGraphs(names: readonly string[]): Promise<Readonly<Record<string, GraphInfo>>>;
  /** Frees the memory of graphs, after the batches before. */
  unload(names: readonly string[]): Promise<void>;
  register(id: ConditioningId, inputs: Readonly<Record<string, Tensor>>): void;
  release(id: ConditioningId): void;
  /**
   * Runs a batch.
   * @throws DeviceFailure if another device, or this one later, may run it; SrdsError if not
   */
  run(batch: Batch, options: DeviceBatchOptions): Promise<BatchResult>;
  /** Whether the session for a batch is open or about to be. */
  hasBucketFor(batch: Batch): boolean;
  /** Runs the first batch of a bucket. @throws as `run` does */
  openBucket(batch: Batch, options: DeviceBatchOptions): Promise<BatchResult>;
  /** Seconds that a batch usually takes; undefined if that is not known. */
  expectedSeconds(batch: Batch): number | undefined;
  close(): Promise<void>;
}
