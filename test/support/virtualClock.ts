import type { Clock } from '../../src/engine/dispatcher.js';

/** Time that advances only when nothing is left to do. */
export class VirtualClock implements Clock {
  private milliseconds = 0;
  private readonly events: { readonly at: number; readonly happen: () => void }[] = [];

  /** @param random numbers from 0 to 1 */
  constructor(readonly random: () => number = () => 0.5) {}

  now(): number {
    return this.milliseconds;
  }

  wait(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const happen = () => {
        signal?.removeEventListener('abort', happen);
        resolve();
      };
      signal?.addEventListener('abort', happen);
      this.events.push({ at: this.milliseconds + milliseconds, happen });
    });
  }

  /** Runs until something is done. @returns what it came to */
  async until<Value>(work: Promise<Value>): Promise<Value> {
    const state = { done: false };
    void work.finally(() => (state.done = true)).catch(() => undefined);
    for (;;) {
      for (let turn = 0; turn < 6; turn++) await new Promise((resolve) => setImmediate(resolve));
      if (state.done) return work;
      this.events.sort((a, b) => a.at - b.at);
      const next = this.events.at(0);
      if (!next) throw new Error('nothing happens and nothing is done');
      this.milliseconds = next.at;
      while (this.events.length > 0 && this.events[0].at === next.at) this.events.shift()!.happen();
    }
  }
}
