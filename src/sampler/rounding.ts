/**
 * Root mean square of the change from `before` to `now`, without rounding.
 *
 * Rounding errors n[p] of successive iterates x[p] are independent. Their changes d[p] = x[p] - x[p-1] = s[p] + n[p] - n[p-1] share
 * an error of opposite sign, so that it shows in their product:
 *
 *     <d[p], d[p-1]> = <s[p], s[p-1]> - |n|^2          |d[p]|^2 = |s[p]|^2 + 2 |n|^2
 *     |s[p]|^2       = |d[p]|^2 + 2 min(0, <d[p], d[p-1]>)
 *
 * Where nothing but rounding is left, |d[p]| stays the same from one iteration to the next, and the result is near 0.
 * @param limit root mean square of the largest change that may be rounding; where one of the two is larger, all of `now - before` counts
 */
export function changeBeyondRounding(
  now: Float32Array,
  before: Float32Array,
  older: Float32Array,
  limit: number,
): number {
  let [squares, earlier, products] = [0, 0, 0];
  for (let k = 0; k < now.length; k++) {
    const change = now[k] - before[k];
    squares += change ** 2;
    const last = before[k] - older[k];
    earlier += last ** 2;
    products += change * last;
  }
  const share = Math.max(squares, earlier) >= now.length * limit ** 2 ? 0 : 2 * Math.min(0, products);
  return Math.sqrt(Math.max(0, squares + share) / now.length);
}
