import { whenAborted } from '../sampler/evaluator.js';

/** Waits for all, whether or not one fails, and then fails with the first that did. */
export async function all<Value>(promises: readonly Promise<Value>[]): Promise<Value[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}

/** The value, or undefined once the signal is aborted, whether or not what gives the value pays heed to it. */
export function untilAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value | undefined> {
  return unlessAborted(Promise.race([promise, whenAborted(signal)]), signal);
}

/** The value, or undefined if it failed because of an abort. */
export async function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value | undefined> {
  return promise.catch((error: unknown) => {
    if (signal.aborted) return undefined;
    throw error;
  });
}
