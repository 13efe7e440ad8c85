import type { Solver } from './solver.js';

/**
 * DDIM, deterministic (eta = 0): x' = sqrt(abar') x0 + sqrt(1 - abar') epsilon.
 * Source: Song et al. 2020, formula (12); diffusers DDIMScheduler.step.
 */
export const ddim: Solver = {
  name: 'ddim',
  order: 1,
  step(_x, { x0, epsilon }, { to }) {
    const signal = Math.sqrt(to.alphaBar);
    const noise = Math.sqrt(1 - to.alphaBar);
    return x0.map((value, k) => signal * value + noise * epsilon[k]);
  },
};
