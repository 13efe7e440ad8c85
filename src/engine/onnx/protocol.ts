import type { Batch, BatchResult, ConditioningId, GraphFile, GraphInfo } from '../engine.js';
import type { Tensor } from '../../tensor/tensor.js';

/** Parent to device process: what has a reply. */
export type Question =
  | { readonly kind: 'load'; readonly graphs: Readonly<Record<string, GraphFile>>; readonly threads: number }
  | { readonly kind: 'unload'; readonly graphs: readonly string[] }
  | { readonly kind: 'run'; readonly batch: Batch };

/** Parent to device process: what has none. */
export type Notice =
  | { readonly kind: 'register'; readonly id: ConditioningId; readonly inputs: Readonly<Record<string, Tensor>> }
  | { readonly kind: 'release'; readonly id: ConditioningId };

/** Device process to parent. */
export type Reply =
  | { readonly kind: 'loaded'; readonly graphs: Readonly<Record<string, GraphInfo>> }
  | { readonly kind: 'unloaded' }
  | { readonly kind: 'unloadable'; readonly graph: string; readonly message: string }
  | { readonly kind: 'done'; readonly result: BatchResult }
  | { readonly kind: 'failed'; readonly message: string };

/** A message with the number of its question: an answer that fails may overtake others. */
export type Numbered<Message> = Message & { readonly number: number };
