import { nextTurn } from './platform.js';

/** A long computation in short steps: it yields where the event loop may have a turn, after a bounded amount of work. */
export type Steps<Value> = Generator<undefined, Value, undefined>;

/** Milliseconds to compute before the event loop has a turn. */
const TURN_MS = 5;

/** Runs a computation to its end at once. */
export function finish<Value>(steps: Steps<Value>): Value {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** Runs a computation while other work goes on. @throws the signal's reason once it is aborted */
export async function finishInTurns<Value>(steps: Steps<Value>, signal?: AbortSignal): Promise<Value> {
  for (;;) {
    const start = performance.now();
    while (performance.now() - start < TURN_MS) {
      const { done, value } = steps.next();
      if (done) return value;
    }
    await nextTurn();
    signal?.throwIfAborted();
  }
}
