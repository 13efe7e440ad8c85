import type { Dataflow } from './dataflow.js';

/** What a graph proves about the shapes of its values; undefined where it proves nothing. */
export interface ShapeFacts extends Dataflow {
  /** Number of axes. */
  readonly rank: (name: string) => number | undefined;
  /** Length of the last axis. */
  readonly width: (name: string) => number | undefined;
  /** Length of the second axis, of values with three axes or more. */
  readonly channels: (name: string) => number | undefined;
  /** Length of the first axis, or `ROWS`. */
  readonly leading: (name: string) => number | string | undefined;
  /** The earliest value that has the same first two axes. */
  readonly origin: (name: string) => string;
}

/** The first axis of all inputs of a bucket. */
export const ROWS = 'rows';

/** Operators whose result has as many axes as their first input and, except for Slice and Split, the same lengths. */
export const KEEPS_AXES: ReadonlySet<string> = new Set([
  ...['Cast', 'Dropout', 'Erf', 'Geglu', 'Gelu', 'Identity', 'InstanceNormalization', 'LayerNormalization'],
  ...['Sigmoid', 'SkipLayerNormalization', 'Slice', 'Softmax', 'Split'],
]);
