import { clientGone, deadlineExceeded, shuttingDown } from './apiError.js';

/** Ends a job when its client leaves, its deadline passes or the server shuts down. The reason of the signal is an ApiError. */
export class JobLimit {
  private readonly controller = new AbortController();
  private readonly timer: NodeJS.Timeout;
  private readonly onLeave = () => this.controller.abort(clientGone());
  private readonly onStop = () => this.controller.abort(shuttingDown());

  /**
   * @param client aborted when the client leaves
   * @param stop aborted when the server ends its jobs
   */
  constructor(
    private readonly client: AbortSignal,
    private readonly stop: AbortSignal,
    deadlineSeconds: number,
  ) {
    this.timer = setTimeout(() => this.controller.abort(deadlineExceeded(deadlineSeconds)), deadlineSeconds * 1000);
    client.addEventListener('abort', this.onLeave, { once: true });
    stop.addEventListener('abort', this.onStop, { once: true });
    if (client.aborted) this.onLeave();
    if (stop.aborted) this.onStop();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Removes the timer and the listeners. */
  clear(): void {
    clearTimeout(this.timer);
    this.client.removeEventListener('abort', this.onLeave);
    this.stop.removeEventListener('abort', this.onStop);
  }
}
