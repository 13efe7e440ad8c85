import { extrapolate, guidedSum, weighted } from '../../tensor/operations.js';

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
export function gather(output: Float32Array, size: number, batch: readonly Wanted[], into: Float32Array): void {
  const rowOf = (values: Float32Array, index: number) => values.subarray(index * size, (index + 1) * size);
  let row = 0;
  let back = 0;
  for (const wanted of batch) {
    const { rows, combine, sums } = wanted;
    const first = rowOf(output, row);
    const second = combine === undefined ? first : rowOf(output, row + 1);
    if (sums) {
      for (const [k, [a, b]] of sums.weights.entries()) {
        const end = rowOf(into, back + k);
        if (combine === undefined) weighted(a, sums.x, b, first, end);
        else guidedSum(a, sums.x, b, first, second, combine, end);
      }
    } else {
      if (combine !== undefined) extrapolate(first, second, combine);
      into.set(output.subarray(row * size, (row + rowsBack(wanted)) * size), back * size);
    }
    row += rows;
    back += rowsBack(wanted);
  }
}
