import type { SolverStep } from './grid.js';
import { combineNoise } from './noise.js';

/** One coarse step over consecutive fine steps: from the start of the first to the end of the last. */
export function span(steps: readonly SolverStep[]): SolverStep {
  return { from: steps[0].from, to: steps[steps.length - 1].to, noise: combineNoise(steps) };
}
