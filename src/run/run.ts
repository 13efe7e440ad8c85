import { setMaxListeners } from 'node:events';

/**
 * Something under way: its events as an async iterable, for one reader, and its result. It starts as soon as the code that
 * made it is through, and does not wait for its reader; a reader that leaves its loop early aborts it. Events before the
 * reader comes are not kept.
 */
export class Run<Event, Result> implements AsyncIterable<Event> {
  readonly result: Promise<Result>;
  private readonly controller = new AbortController();
  private readonly events: Event[] = [];
  private read = false;
  private ended = false;
  private wake: () => void = () => undefined;

  /**
   * @param work does it, emitting events; when `signal` is aborted it ends soon, with a result that says so
   * @param signal aborts the run from outside
   */
  constructor(work: (emit: (event: Event) => void, signal: AbortSignal) => Promise<Result>, signal?: AbortSignal) {
    // Every evaluation under way listens.
    setMaxListeners(0, this.controller.signal);
    const forward = () => this.abort();
    if (signal?.aborted) forward();
    else signal?.addEventListener('abort', forward, { once: true });
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
      // After a failure, whatever else the work had begun is dropped.
      this.controller.abort();
    });
    // A failure reaches whoever reads the events or awaits the result; it is not unhandled before they do.
    this.result.catch(() => undefined);
  }

  /** Ends the run soon; its result says so. */
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
