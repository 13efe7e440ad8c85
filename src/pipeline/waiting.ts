/** Waits for all promises, whether or not one fails, and then fails with the first that did. */
export async function all<Value>(promises: readonly Promise<Value>[]): Promise<Value[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}

/** The value, or undefined as soon as the signal is aborted, even if the promise ignores the signal. */
export function untilAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value | undefined> {
  const aborted = new Promise<never>((_, reject) => {
    const fail = () => reject(signal.reason as Error);
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
  return unlessAborted(Promise.race([promise, aborted]), signal);
}

/** The value, or undefined if the promise failed because of an abort. */
export async function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value | undefined> {
  return promise.catch((error: unknown) => {
    if (signal.aborted) return undefined;
    throw error;
  });
}
