import { combined } from '../denoiser/prediction.js';
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
  return {
    name: 'ddim',
    order: 1,
    evaluationsPerStep: 1,
    step(_x, prediction, { from, to, noise: z }) {
      const spread = z ? eta * posteriorSpread({ from, to }) : 0;
      const signal = Math.sqrt(to.alphaBar);
      const noise = Math.sqrt(Math.max(0, 1 - to.alphaBar - spread * spread));
      if (!z || spread === 0) return combined(prediction, signal, noise);
      const { x0, epsilon } = prediction;
      return x0.map((value, k) => signal * value + noise * epsilon[k] + spread * z[k]);
    },
  };
}

/** DDIM, deterministic. */
export const ddim: Solver = ddimEta(0);
