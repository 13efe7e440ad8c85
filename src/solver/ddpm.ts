import type { SolverStep } from '../schedule/grid.js';
import type { Solver } from './solver.js';

/**
 * DDPM's ancestral step: the posterior of x' given x and the predicted sample, with a = abar / abar',
 *
 *     x' = sqrt(abar') (1 - a) / (1 - abar) x0 + sqrt(a) (1 - abar') / (1 - abar) x + s z
 *     s^2 = (1 - abar') / (1 - abar) (1 - a)
 *
 * Source: Ho et al. 2020, formulas (6) and (7); diffusers DDPMScheduler.step with variance_type fixed_small. Its order is
 * that of the path, for one Brownian motion: combineNoise gives coarse and fine steps the same.
 */
export const ddpm: Solver = {
  name: 'ddpm',
  order: 1,
  evaluationsPerStep: 1,
  step(x, { x0 }, { from, to, noise }) {
    const a = from.alphaBar / to.alphaBar;
    const ofX0 = (Math.sqrt(to.alphaBar) * (1 - a)) / (1 - from.alphaBar);
    const ofX = (Math.sqrt(a) * (1 - to.alphaBar)) / (1 - from.alphaBar);
    const spread = noise ? posteriorSpread({ from, to }) : 0;
    return x.map((value, k) => ofX0 * x0[k] + ofX * value + spread * (noise?.[k] ?? 0));
  },
};

/** s, the standard deviation of the noise that a step adds; 0 where noise does not fall. */
export function posteriorSpread({ from, to }: SolverStep): number {
  return Math.sqrt(Math.max(0, ((1 - to.alphaBar) / (1 - from.alphaBar)) * (1 - from.alphaBar / to.alphaBar)));
}
