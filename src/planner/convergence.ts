import type { Partition } from '../sampler/partition.js';

/**
 * Mean number of iterations after which SRDS stops on the bundled model. It falls with the number of blocks and with the length of the
 * first block relative to the longest, and hardly depends on the number of steps. Source: `srds bench` and
 * `npm run bench:convergence`, 25 to 961 steps.
 * @param tolerance in grey levels
 */
export function expectedIterations(partition: Partition, tolerance = USUAL_TOLERANCE): number {
  const blocks = partition.length;
  const first = partition[0] / Math.max(...partition);
  const further = (EXCESS * first ** 0.45) / blocks ** 0.58;
  return Math.max(1, Math.min(blocks, 1 + further * (USUAL_TOLERANCE / tolerance) ** TOLERANCE_EXPONENT));
}

/**
 * Mean number of passes after which picard stops on the bundled model: some for the sample to settle, and those that the window
 * needs to reach the end. Source: as above.
 */
export function expectedPasses(steps: number, window: number, tolerance = USUAL_TOLERANCE): number {
  const usual = SETTLE + (Math.max(0, steps - window) / window) * PER_WINDOW;
  const further = Math.log(tolerance / USUAL_TOLERANCE) / Math.log(PER_PASS);
  return Math.max(1, Math.min(steps - 1, usual + further));
}

const USUAL_TOLERANCE = 0.1;
/** Iterations after the first fall with about this power of the tolerance. */
const TOLERANCE_EXPONENT = 0.9;
const EXCESS = 6.3;
/** Each pass leaves about this share of a change. */
const PER_PASS = 0.5;
const SETTLE = 11;
const PER_WINDOW = 1.2;
