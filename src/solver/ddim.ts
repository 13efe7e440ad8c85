import { combined, type Combination } from './prediction.js';
import type { NoiseLevel, SolverStep } from '../schedule/grid.js';
import { weighted } from '../tensor/operations.js';
import { posteriorSpread } from './ddpm.js';
import type { Solver } from './solver.js';

/**
 * DDIM: x' = sqrt(abar') x0 + sqrt(1 - abar' - s^2) epsilon + s z, with z the step's noise and
 *
 *     s = eta sqrt((1 - abar') / (1 - abar)) sqrt(1 - abar / abar')
 *
 * Source: Song et al. 2020, formulas (12) and (16); diffusers DDIMScheduler.step.
 * @param eta 0: deterministic; 1: as much noise as DDPM
 */
export function ddimEta(eta: number): Solver {
  const spreadOf = ({ from, to, noise }: SolverStep) => (noise ? eta * posteriorSpread({ from, to }) : 0);
  const weights = (to: NoiseLevel, spread: number): Combination => [
    Math.sqrt(to.alphaBar),
    Math.sqrt(Math.max(0, 1 - to.alphaBar - spread * spread)),
  ];
  return {
    name: 'ddim',
    order: 1,
    evaluationsPerStep: 1,
    step(_x, prediction, step) {
      const spread = spreadOf(step);
      const mean = combined(prediction, weights(step.to, spread));
      const { noise: z } = step;
      return z && spread > 0 ? weighted(1, mean, spread, z) : mean;
    },
  };
}

/**
 * DDIM, deterministic.
 * @example
 * const end = ddim.step(x, prediction, step);
 */
export const ddim: Solver = ddimEta(0);
