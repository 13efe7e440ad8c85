import type { Solver } from './solver.js';

/**
 * Euler's method in y = x / sqrt(abar) over sigma = sqrt((1 - abar) / abar), where dy/dsigma = epsilon:
 *
 *     y' = y + (sigma' - sigma) epsilon
 *
 * Source: Karras et al. 2022, algorithm 1 without churn; diffusers EulerDiscreteScheduler.step.
 */
export const euler: Solver = {
  name: 'euler',
  order: 1,
  evaluationsPerStep: 1,
  step(x, { epsilon }, { from, to }) {
    const scale = Math.sqrt(to.alphaBar / from.alphaBar);
    const slope = Math.sqrt(to.alphaBar) * (sigma(to.alphaBar) - sigma(from.alphaBar));
    return x.map((value, k) => scale * value + slope * epsilon[k]);
  },
};

/** sigma = sqrt((1 - abar) / abar). */
export function sigma(alphaBar: number): number {
  return Math.sqrt((1 - alphaBar) / alphaBar);
}
