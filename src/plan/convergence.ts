import type { Partition } from './partition.js';

/**
 * Refinements after which SRDS stops, on average over prompts at the default tolerance: the fewer the more blocks there are and
 * the shorter the first of them is against the longest, whatever the number of steps. Source: `srds bench` and
 * `npm run bench:convergence` on the bundled model, 25 to 961 steps.
 */
export function expectedIterations(partition: Partition): number {
  const blocks = partition.length;
  const first = partition[0] / Math.max(...partition);
  return Math.min(blocks, 1 + (32 * first ** 0.7) / blocks ** 1.4);
}

/**
 * Passes after which picard stops, likewise: some for the sample to settle, and as many as the window needs to get to the end.
 * Source: as above.
 */
export function expectedPasses(steps: number, window: number): number {
  return Math.min(steps - 1, SETTLE + (Math.max(0, steps - window) / window) * PER_WINDOW);
}

const SETTLE = 9.2;
const PER_WINDOW = 1.2;
