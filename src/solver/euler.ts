import { sigmaOf } from '../schedule/sigmas.js';
import { linearSolver } from './linear.js';
import type { Solver } from './solver.js';

/**
 * Euler's method in y = x / sqrt(abar) over sigma = sqrt((1 - abar) / abar), where dy/dsigma = epsilon:
 *
 *     y' = y + (sigma' - sigma) epsilon = x0 + sigma' epsilon
 *
 * The second form holds also where there is no signal and sigma is infinite, and does not cancel where it is large.
 * Source: Karras et al. 2022, algorithm 1 without churn; diffusers EulerDiscreteScheduler.step.
 */
export const euler: Solver = linearSolver('euler', ({ to }) => {
  const signal = Math.sqrt(to.alphaBar);
  return [signal, signal * sigmaOf(to.alphaBar)];
});
