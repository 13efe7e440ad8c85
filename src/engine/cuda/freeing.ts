/** Calls all of them, also if one fails. @throws the first error */
export function freeAll(frees: Iterable<() => void>): void {
  const errors: unknown[] = [];
  for (const free of frees) {
    try {
      free();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

/** Frees what a failure leaves behind. An error of that must not hide the failure. @returns the failure, to throw */
export function afterFreeing(failure: unknown, ...frees: readonly (() => void)[]): unknown {
  try {
    freeAll(frees);
  } catch {
    // The failure came first, and may be the reason.
  }
  return failure;
}

/**
 * Runs something that needs objects for the time of the call.
 * @param run is given a function that takes what frees an object; the last object is freed first
 * @throws what `run` throws, or else the first error of freeing
 */
export function scoped<T>(run: (defer: (free: () => void) => void) => T): T {
  const frees: (() => void)[] = [];
  let result: T;
  try {
    result = run((free) => frees.unshift(free));
  } catch (error) {
    throw afterFreeing(error, ...frees);
  }
  freeAll(frees);
  return result;
}
