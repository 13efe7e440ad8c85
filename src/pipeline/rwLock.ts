import { untilAborted } from '../waiting.js';

/** A readers-writer lock in order of the calls: readers run together, a writer runs alone. */
export class RWLock {
  private readonly readers = new Set<Promise<unknown>>();
  /** Resolves when the last writer has ended. */
  private lastWriter: Promise<unknown> = Promise.resolve();

  /**
   * Runs work after the writers that were called before, together with other readers.
   * @param signal once it is aborted, the work runs without waiting any longer; it is expected to notice the abort itself
   */
  read<Value>(work: () => Promise<Value>, signal: AbortSignal): Promise<Value> {
    const result = untilAborted(this.lastWriter, signal).then(work);
    const settled = result.then(
      () => undefined,
      () => undefined,
    );
    this.readers.add(settled);
    void settled.then(() => this.readers.delete(settled));
    return result;
  }

  /** Runs work alone, after everything that was called before; later calls wait for it. */
  write<Value>(work: () => Promise<Value>): Promise<Value> {
    const result = Promise.allSettled([this.lastWriter, ...this.readers]).then(work);
    this.lastWriter = result.catch(() => undefined);
    return result;
  }
}
