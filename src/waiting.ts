/** Waits for all promises, whether or not one fails, and then fails with the first that did. */
export async function all<Value>(promises: readonly Promise<Value>[]): Promise<Value[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}

/** The value, even if the promise ignores the signal. @throws the signal's reason as soon as it is aborted */
export function orAbort<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason as Error);
    // A promise that nobody waits for any more is handled too.
    void promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
}

/** The value, or undefined as soon as the signal is aborted, even if the promise ignores the signal. */
export function untilAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value | undefined> {
  return unlessAborted(orAbort(promise, signal), signal);
}

/** The value, or undefined if the promise failed because of an abort. */
export async function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value | undefined> {
  return promise.catch((error: unknown) => {
    if (signal.aborted) return undefined;
    throw error;
  });
}

/** A lock such as async-mutex's. */
interface Lock {
  acquire(): Promise<() => void>;
}

/**
 * Acquires a lock.
 * @returns a function that releases it
 * @throws the signal's reason as soon as it is aborted; then the lock is not held
 */
export async function acquireOrAbort(lock: Lock, signal: AbortSignal): Promise<() => void> {
  const turn = lock.acquire();
  try {
    return await orAbort(turn, signal);
  } catch (error) {
    void turn.then((release) => release());
    throw error;
  }
}
