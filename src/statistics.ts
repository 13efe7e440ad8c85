/** The sum of numbers; 0 of none. */
export function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** The mean of numbers; NaN of none. */
export function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}
