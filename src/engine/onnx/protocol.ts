import type { Batch, BatchResult, ConditioningId, GraphInfo } from '../engine.js';
import type { Tensor } from '../../tensor/tensor.js';

/** Parent to device process. */
export type Request =
  | { readonly kind: 'load'; readonly graphs: Readonly<Record<string, string>>; readonly threads: number }
  | { readonly kind: 'register'; readonly id: ConditioningId; readonly inputs: Readonly<Record<string, Tensor>> }
  | { readonly kind: 'release'; readonly id: ConditioningId }
  | { readonly kind: 'run'; readonly batch: Batch };

/** Device process to parent: one reply to each `load` and `run`, in their order. */
export type Reply =
  | { readonly kind: 'loaded'; readonly graphs: Readonly<Record<string, GraphInfo>> }
  | { readonly kind: 'unloadable'; readonly graph: string; readonly message: string }
  | { readonly kind: 'done'; readonly result: BatchResult }
  | { readonly kind: 'failed'; readonly message: string };
