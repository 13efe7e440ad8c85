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
  step(_x, { x0, epsilon }, { to }) {
    const [signal, sigma] = [Math.sqrt(to.alphaBar), sigmaOf(to.alphaBar)];
    const end = new Float32Array(x0.length);
    for (let k = 0; k < end.length; k++) end[k] = signal * (x0[k] + sigma * epsilon[k]);
    return end;
  },
};
