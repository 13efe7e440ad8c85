import { extrapolate } from '../../tensor/operations.js';
import type { SumsBySize } from './sums.js';

/** What an evaluation wants of its rows of the output. */
export interface Wanted {
  /** Rows that it was run with. */
  readonly rows: number;
  /** Scale by which the second of two rows is brought into the first. */
  readonly combine?: number | undefined;
  /** Sums that it wants in the place of the one row that is left, and of which input. */
  readonly sums?:
    { readonly x: Float32Array; readonly weights: readonly (readonly [input: number, output: number])[] } | undefined;
}

/** Rows that come back for an evaluation. */
export function rowsBack({ rows, combine, sums }: Wanted): number {
  return sums?.weights.length ?? (combine === undefined ? rows : 1);
}

/**
 * What the evaluations of a batch want, one after the other.
 * @param output [rows of the batch, and more, size]; changed where rows are combined
 * @param into [rows that come back, size]
 */
export function postprocess(
  output: Float32Array,
  size: number,
  batch: readonly Wanted[],
  into: Float32Array,
  bySize: SumsBySize,
): void {
  let row = 0;
  let back = 0;
  for (const wanted of batch) {
    const { rows, combine, sums } = wanted;
    const first = output.subarray(row * size, (row + 1) * size);
    const second = combine === undefined ? first : output.subarray((row + 1) * size, (row + 2) * size);
    if (sums) {
      if (rows > 1 && combine === undefined) throw new Error('sums of two rows that are not combined');
      const rowSums = bySize.of(size);
      const scale = combine ?? 0;
      rowSums.take(sums.x, first, second);
      for (const [k, [a, b]] of sums.weights.entries()) {
        into.set(rowSums.sum(a, b * (1 - scale), b * scale), (back + k) * size);
      }
    } else {
      if (combine !== undefined) extrapolate(first, second, combine);
      into.set(output.subarray(row * size, (row + rowsBack(wanted)) * size), back * size);
    }
    row += rows;
    back += rowsBack(wanted);
  }
}
