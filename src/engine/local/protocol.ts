import type { GraphFile, GraphInfo } from '../../onnx/graphInfo.js';
import type { ConditioningId } from '../engine.js';
import type { Device } from '../device.js';
import type { ElementType, Tensor } from '../../tensor/tensor.js';

/** What a device process is told when it starts. */
export interface ProcessSettings {
  readonly device: Device;
  /** Threads on the CPU. */
  readonly threads: number;
  /** Sizes of batches that it keeps sessions for, ascending; none on a CPU, where any size will do. */
  readonly buckets: readonly number[];
  /** Whether graphs that have buckets are written as GPUs run them best. */
  readonly fused: boolean;
  /** Path of the channel. */
  readonly channel: string;
}

/** An input of all evaluations of a batch, one after the other in the channel. */
export interface WireInput {
  readonly name: string;
  readonly type: ElementType;
  /** Of one evaluation, without batch axis. */
  readonly dims: readonly number[];
  /** Where it begins, in bytes. */
  readonly at: number;
}

/** A batch, its tensors in the channel. */
export interface WireBatch {
  readonly graph: string;
  readonly output: string;
  readonly inputs: readonly WireInput[];
  /** Of each evaluation: the registered inputs of its rows; null: one row, with no others. */
  readonly conditioning: readonly (readonly ConditioningId[] | null)[];
}

/** Parent to device process: what has a reply. */
export type Request =
  | { readonly kind: 'load'; readonly graphs: Readonly<Record<string, GraphFile>> }
  | { readonly kind: 'unload'; readonly graphs: readonly string[] }
  /** Whether the device works at all. */
  | { readonly kind: 'probe' };

/** Parent to device process, by the channel: a batch to be run. */
export interface RunBatch {
  readonly batch: WireBatch;
  /** Notices that were sent before: they come another way and may be late. */
  readonly notices: number;
}

/** Parent to device process: what has no reply. */
export type Notification =
  | { readonly kind: 'register'; readonly id: ConditioningId; readonly inputs: Readonly<Record<string, Tensor>> }
  | { readonly kind: 'release'; readonly id: ConditioningId };

/** Device process to parent. */
export type Reply =
  | { readonly kind: 'loaded'; readonly graphs: Readonly<Record<string, GraphInfo>> }
  | { readonly kind: 'unloaded' }
  | { readonly kind: 'works' }
  | { readonly kind: 'unloadable'; readonly graph: string; readonly message: string }
  /** The rows of the output are where the channel's contents begin, float32. */
  | {
      readonly kind: 'done';
      /** Numbers in a row of the output. */
      readonly size: number;
      readonly seconds: number;
      /** Rows that were run, padding included. */
      readonly rows: number;
      /** Buckets that are left, if memory did not suffice for one. */
      readonly buckets?: readonly number[] | undefined;
    }
  | { readonly kind: 'failed'; readonly message: string };

/** That there is a letter in the channel, for a side that sleeps. */
export interface Wake {
  readonly kind: 'knock';
}

/** A message with the number of its question: an answer that fails may overtake others. */
export type Numbered<Message> = Message & { readonly number: number };
