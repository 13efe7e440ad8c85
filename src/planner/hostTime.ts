import { nextTurn } from '../run/platform.js';
import { weighted } from '../tensor/operations.js';

/** Host cost of a batch of one evaluation, in passes over a sample: its step, the correction, copies, waking up. */
const PASSES = 4;
const RUNS = 100;
/** Numbers to pass over before the event loop has a turn. */
const NUMBERS = 1 << 20;

/**
 * Seconds on the host for a batch of one evaluation, until a run shows them: those of the passes over memory of a step, its correction and the
 * test for convergence.
 * @param size numbers in a sample
 */
export async function measuredHostSeconds(size: number): Promise<number> {
  const x = new Float32Array(size).fill(1);
  const times: number[] = [];
  while (times.length < RUNS) {
    const start = performance.now();
    weighted(0.5, x, 0.5, x);
    times.push((performance.now() - start) / 1000);
    if (times.length % Math.max(1, Math.floor(NUMBERS / size)) === 0) await nextTurn();
  }
  // The first runs are not compiled yet, and other work on the machine slows some of the others.
  return PASSES * times.sort((a, b) => a - b)[Math.floor(RUNS / 20)];
}
