import { allowManyListeners } from './platform.js';

/**
 * A running operation: its events as an async iterable, for one reader, and its result. It starts in the next microtask and does
 * not wait for its reader. A reader that leaves its loop early aborts the run. Events before the first read are dropped.
 * @example
 * const run = new Run<number, string>(async (emit) => {
 *   emit(1);
 *   return 'done';
 * });
 * for await (const event of run) console.log(event);
 * console.log(await run.result);
 */
export class Run<Event, Result> implements AsyncIterable<Event> {
  readonly result: Promise<Result>;
  private readonly controller = new AbortController();
  private readonly events: Event[] = [];
  private read = false;
  private ended = false;
  private wake: () => void = () => undefined;

  /**
   * @param work emits events and returns the result; when `signal` is aborted it ends soon, with a result that says so
   * @param signal aborts the run from outside
   */
  constructor(work: (emit: (event: Event) => void, signal: AbortSignal) => Promise<Result>, signal?: AbortSignal) {
    allowManyListeners(this.controller.signal);
    const forward = () => this.abort();
    if (signal?.aborted) forward();
    else if (signal) {
      // Runs of a benchmark or a server share one.
      allowManyListeners(signal);
      signal.addEventListener('abort', forward, { once: true });
    }
    const emit = (event: Event) => {
      if (this.ended || !this.read) return;
      this.events.push(event);
      this.wake();
    };
    const started = Promise.resolve().then(() => work(emit, this.controller.signal));
    this.result = started.finally(() => {
      signal?.removeEventListener('abort', forward);
      this.ended = true;
      this.wake();
      // After a failure, evaluations that are still pending are dropped.
      this.controller.abort();
    });
    // A failure reaches the reader of the events or of the result; until then it is not unhandled.
    this.result.catch(() => undefined);
  }

  /** Ends the run soon, with a result that says so. */
  abort(): void {
    this.controller.abort();
  }

  [Symbol.asyncIterator](): AsyncGenerator<Event, void, undefined> {
    this.read = true;
    return this.iterate();
  }

  private async *iterate(): AsyncGenerator<Event, void, undefined> {
    try {
      for (;;) {
        const event = this.events.shift();
        if (event !== undefined) yield event;
        else if (this.ended) break;
        else await new Promise<void>((resolve) => (this.wake = resolve));
      }
      await this.result;
    } finally {
      if (!this.ended) this.abort();
    }
  }
}
