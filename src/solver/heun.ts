import type { Prediction } from './prediction.js';
import type { NoiseLevel } from '../schedule/grid.js';
import { sigmaOf } from '../schedule/sigmas.js';
import type { Solver } from './solver.js';

/**
 * Heun's method in y = x / sqrt(abar) over sigma, with d(y) = (y - x0) / sigma:
 *
 *     u = y + (sigma' - sigma) d(y)
 *     y' = y + (sigma' - sigma) (d(y) + d(u)) / 2
 *
 * Where sigma' = 0 it is Euler's. The derivative is that of the bounded x0. Source: Karras et al. 2022, algorithm 1
 * without churn; diffusers HeunDiscreteScheduler.step.
 */
export const heun: Solver = {
  name: 'heun',
  order: 2,
  evaluationsPerStep: 2,
  *step(x, prediction, { from, to }) {
    const h = sigmaOf(to.alphaBar) - sigmaOf(from.alphaBar);
    const signal = Math.sqrt(to.alphaBar);
    const y = x.map((value) => value / Math.sqrt(from.alphaBar));
    const d = derivative(x, prediction, from);
    const u = y.map((value, k) => signal * (value + h * d[k]));
    if (to.alphaBar === 1) return u;
    const dThere = derivative(u, yield { x: u, level: to }, to);
    return y.map((value, k) => signal * (value + (h * (d[k] + dThere[k])) / 2));
  },
};

function derivative(x: Float32Array, { x0 }: Prediction, { alphaBar }: NoiseLevel): Float32Array {
  const [signal, sigma] = [Math.sqrt(alphaBar), sigmaOf(alphaBar)];
  return x.map((value, k) => (value / signal - x0[k]) / sigma);
}
