import type { Partition } from '../sampler/partition.js';

/**
 * Mean number of iterations after which SRDS stops. It falls with the number of blocks and with the length of the first block
 * relative to the longest, and hardly depends on the number of steps. Source: `srds bench` and `npm run bench:convergence` on the bundled
 * model, 25 to 961 steps.
 * @param tolerance in grey levels
 */
export function expectedIterations(partition: Partition, tolerance = USUAL_TOLERANCE): number {
  const blocks = partition.length;
  const first = partition[0] / Math.max(...partition);
  const usual = 1 + (32 * first ** 0.7) / blocks ** 1.4;
  return Math.max(1, Math.min(blocks, usual + further(tolerance, PER_ITERATION)));
}

/**
 * Mean number of passes after which picard stops: some for the sample to settle, and those that the window needs to reach the
 * end. Source: as above.
 */
export function expectedPasses(steps: number, window: number, tolerance = USUAL_TOLERANCE): number {
  const usual = SETTLE + (Math.max(0, steps - window) / window) * PER_WINDOW;
  return Math.max(1, Math.min(steps - 1, usual + further(tolerance, PER_PASS)));
}

/** Additional iterations for another tolerance, if each iteration leaves such a share of the change. */
function further(tolerance: number, share: number): number {
  return Math.log(tolerance / USUAL_TOLERANCE) / Math.log(share);
}

const USUAL_TOLERANCE = 0.5;
const PER_ITERATION = 0.25;
const PER_PASS = 0.5;

const SETTLE = 9.2;
const PER_WINDOW = 1.2;
