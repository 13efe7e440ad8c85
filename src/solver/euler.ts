import { combined, type Combination } from './prediction.js';
import type { SolverStep } from '../schedule/grid.js';
import { sigmaOf } from '../schedule/sigmas.js';
import type { Solver } from './solver.js';

/**
 * Euler's method in y = x / sqrt(abar) over sigma = sqrt((1 - abar) / abar), where dy/dsigma = epsilon:
 *
 *     y' = y + (sigma' - sigma) epsilon = x0 + sigma' epsilon
 *
 * The second form holds also where there is no signal and sigma is infinite, and does not cancel where it is large.
 * Source: Karras et al. 2022, algorithm 1 without churn; diffusers EulerDiscreteScheduler.step.
 */
export const euler: Solver = {
  name: 'euler',
  order: 1,
  evaluationsPerStep: 1,
  step: (_x, prediction, step) => combined(prediction, combination(step)),
};

function combination({ to }: SolverStep): Combination {
  const signal = Math.sqrt(to.alphaBar);
  return [signal, signal * sigmaOf(to.alphaBar)];
}
