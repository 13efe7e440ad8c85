import type { Evaluation, WeightedSums } from './engine.js';

/** The sums of an evaluation. Each element is computed in float64 and rounded once. @param rows of the output */
export function weightedSums(
  { inputs }: Pick<Evaluation, 'inputs'>,
  { input, weights }: WeightedSums,
  rows: readonly Float32Array[],
): Float32Array[] {
  const x = inputs[input].data;
  return weights.map(([ofX, ...ofRows]) => {
    const sum = new Float32Array(rows[0].length);
    // Loops for one and two rows, because one for any number takes several times as long.
    if (rows.length === 1) {
      const [[row], [w]] = [rows, ofRows];
      for (let k = 0; k < sum.length; k++) sum[k] = ofX * Number(x[k]) + w * row[k];
    } else {
      const [[a, b], [u, v]] = [rows, ofRows];
      for (let k = 0; k < sum.length; k++) sum[k] = ofX * Number(x[k]) + u * a[k] + v * b[k];
    }
    return sum;
  });
}
