/** Arrays that reductions accept. */
export type Values = Float32Array | Uint8Array;

/** Mean of |a - b| over all elements, in float64. @throws RangeError if the lengths differ */
export function meanAbsoluteDifference(a: Values, b: Values): number {
  checkSameLength(a, b);
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += Math.abs(a[k] - b[k]);
  return sum / a.length;
}

/** Maximum of |a - b| over all elements. @throws RangeError if the lengths differ */
export function maxAbsoluteDifference(a: Values, b: Values): number {
  checkSameLength(a, b);
  let max = 0;
  for (let k = 0; k < a.length; k++) max = Math.max(max, Math.abs(a[k] - b[k]));
  return max;
}

/** Whether all elements are equal by `===`, and the lengths too. */
export function identical(a: Values, b: Values): boolean {
  if (a.length !== b.length) return false;
  for (let k = 0; k < a.length; k++) if (a[k] !== b[k]) return false;
  return true;
}

function checkSameLength(a: Values, b: Values): void {
  if (a.length !== b.length) throw new RangeError(`arrays of ${a.length} and ${b.length} elements cannot be compared`);
}

/** Whether all elements are finite numbers. A sum of products with 0 is one pass without a branch. */
export function allFinite(values: Float32Array): boolean {
  let sum = 0;
  for (let k = 0; k < values.length; k++) sum += values[k] * 0;
  return sum === 0;
}

/** a x + b y. Each element is computed in float64 and rounded once. @throws RangeError if the lengths differ */
export function weighted(a: number, x: Float32Array, b: number, y: Float32Array): Float32Array {
  checkSameLength(x, y);
  // A loop, because `map` takes ten times as long.
  const sum = new Float32Array(x.length);
  for (let k = 0; k < sum.length; k++) sum[k] = a * x[k] + b * y[k];
  return sum;
}

/** Mean of (a - b)^2 over all elements, in float64. @throws RangeError if the lengths differ */
export function meanSquaredDifference(a: Float32Array, b: Float32Array): number {
  checkSameLength(a, b);
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += (a[k] - b[k]) ** 2;
  return sum / a.length;
}

/** Root mean square of a - b, in float64. @throws RangeError if the lengths differ */
export function rmsDifference(a: Float32Array, b: Float32Array): number {
  return a === b ? 0 : Math.sqrt(meanSquaredDifference(a, b));
}

/** a + scale (b - a), in place: allocation takes longer than the arithmetic. @returns `a` */
export function extrapolate(a: Float32Array, b: Float32Array, scale: number): Float32Array {
  checkSameLength(a, b);
  for (let k = 0; k < a.length; k++) a[k] += scale * (b[k] - a[k]);
  return a;
}
