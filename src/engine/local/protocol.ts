import type { GraphFile, GraphInfo } from '../../onnx/graphInfo.js';
import type { ElementType, Tensor } from '../../tensor/tensor.js';
import type { OutputType } from '../bucketSession.js';
import type { Processor } from '../device.js';
import type { ConditioningId } from '../engine.js';

/** Settings of a device process, given when it starts. */
export interface ProcessSettings {
  readonly device: Processor;
  /** Threads on the CPU. */
  readonly threads: number;
  /** Batch sizes that the process keeps sessions for, in rows, ascending; empty on a CPU, where any size will do. */
  readonly buckets: readonly number[];
  /** Whether graphs with buckets are rewritten into the operators that are fastest on a GPU. */
  readonly fused: boolean;
  /** Whether graphs that run often are opened over ONNX Runtime's C API: on CUDA, their batches are CUDA graphs. */
  readonly cApi: boolean;
  /** Whether those that are fused may have this package's kernels on CUDA; default: yes. */
  readonly kernels?: boolean;
  /** Path of the shared channel. */
  readonly channel: string;
}

/** One input of all evaluations of a batch, stored contiguously in the channel. */
export interface WireInput {
  readonly name: string;
  readonly type: ElementType;
  /** Shape for one evaluation, without the batch axis. */
  readonly dims: readonly number[];
  /** Position of the first element, in bytes. */
  readonly at: number;
}

/** A batch whose tensors are in the channel. */
export interface WireBatch {
  readonly graph: string;
  readonly output: string;
  readonly inputs: readonly WireInput[];
  /** The registered inputs of each evaluation's rows; null: one row without registered inputs. */
  readonly conditioning: readonly (readonly ConditioningId[] | null)[];
}

/** Engine to device process: a message with a reply. */
export type Request =
  | { readonly kind: 'load'; readonly graphs: Readonly<Record<string, GraphFile>> }
  | { readonly kind: 'unload'; readonly graphs: readonly string[] }
  /** Asks whether the device works at all. */
  | { readonly kind: 'probe' };

/** Engine to device process, over the channel: run a batch. */
export interface RunBatch {
  readonly batch: WireBatch;
  /** Notifications sent before this message. They use another transport, so they may arrive later. */
  readonly notifications: number;
}

/** Engine to device process: a message without a reply. */
export type Notification =
  | { readonly kind: 'register'; readonly id: ConditioningId; readonly inputs: Readonly<Record<string, Tensor>> }
  | { readonly kind: 'release'; readonly id: ConditioningId };

/** A way to run batches faster that a device does without. */
export interface Slower {
  readonly without: 'CUDA graphs' | 'fused kernels';
  readonly why: string;
}

/** Device process to engine. */
export type Reply =
  | {
      readonly kind: 'loaded';
      readonly graphs: Readonly<Record<string, GraphInfo>>;
      readonly slower?: Slower | undefined;
    }
  | { readonly kind: 'unloaded' }
  | { readonly kind: 'works'; readonly slower?: Slower | undefined }
  | {
      readonly kind: 'unloadable';
      readonly graph: string;
      readonly message: string;
      /** Whether the device has no kernels for some of its operators. */
      readonly isForeign: boolean;
    }
  /** The output rows are at the start of the channel's content. */
  | {
      readonly kind: 'done';
      /** Elements of an output row, and their type. */
      readonly size: number;
      readonly type: OutputType;
      /** Seconds inside the network. */
      readonly seconds: number;
      /** Rows that ran, padding included. */
      readonly rows: number;
      /** The remaining buckets, if memory was too small for one. */
      readonly buckets?: readonly number[] | undefined;
      /** Whether buckets were closed, for want of memory or because there were too many. */
      readonly hasClosedBuckets: boolean;
      /** What its graph does without, if it could have it. */
      readonly slower?: Slower | undefined;
    }
  | {
      readonly kind: 'failed';
      readonly message: string;
      /** Whether memory was too small for the batch. */
      readonly outOfMemory?: boolean;
      /** Whether the graph does not run on these inputs, and another device would not help. */
      readonly isOfGraph?: boolean;
      /** Whether an operator of an optimized graph does not take its sizes; the message then says what was found. */
      readonly isRefused?: boolean;
      /** Whether the device fails all further calls of the process. */
      readonly isDeviceFault?: boolean;
    };

/** Wakes a side that sleeps: a message is in the channel. */
export interface Wake {
  readonly kind: 'wake';
}

/** A message with the number of its request. Replies may arrive out of order. */
export type Numbered<Message> = Message & { readonly number: number };
