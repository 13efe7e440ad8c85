import { untilAborted } from './waiting.js';

/** Work that may run beside other work, and work that must run alone, in the order in which they are asked for. */
export class RWLock {
  private readonly running = new Set<Promise<unknown>>();
  /** Ends with the last that was asked to run alone. */
  private alone: Promise<unknown> = Promise.resolve();

  /** Runs beside others, after what was asked to run alone before. @param signal once it is aborted there is nothing to wait for */
  read<Value>(work: () => Promise<Value>, signal: AbortSignal): Promise<Value> {
    const result = untilAborted(this.alone, signal).then(work);
    const settled = result.then(
      () => undefined,
      () => undefined,
    );
    this.running.add(settled);
    void settled.then(() => this.running.delete(settled));
    return result;
  }

  /** Runs when all that was asked for before has ended; what is asked for later waits. */
  write<Value>(work: () => Promise<Value>): Promise<Value> {
    const before = Promise.allSettled([this.alone, ...this.running]);
    const result = before.then(work);
    this.alone = result.catch(() => undefined);
    return result;
  }
}
