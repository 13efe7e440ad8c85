import type { SolverStep } from '../schedule/grid.js';
import { weighted } from '../tensor/operations.js';
import type { Solver } from './solver.js';

/**
 * DPM-Solver++ of first order, with h = lambda' - lambda and lambda = log(sqrt(abar) / sqrt(1 - abar)):
 *
 *     x' = sqrt((1 - abar') / (1 - abar)) x - sqrt(abar') (e^-h - 1) x0
 *
 * Source: Lu et al. 2022b (DPM-Solver++), formula (4); diffusers DPMSolverMultistepScheduler with solver_order 1.
 */
export const dpm1: Solver = {
  name: 'dpm1',
  order: 1,
  evaluationsPerStep: 1,
  step: (x, { x0 }, step) => dataStep(x, x0, step),
};

/** One step of DPM-Solver++ for a prediction of the sample that holds throughout. */
export function dataStep(x: Float32Array, x0: Float32Array, { from, to }: SolverStep): Float32Array {
  const ofX = Math.sqrt((1 - to.alphaBar) / (1 - from.alphaBar));
  const ofX0 = dataWeight({ from, to });
  return weighted(ofX, x, ofX0, x0);
}

/** -sqrt(abar') (e^-h - 1), with e^-h written without lambda, which is infinite where there is no noise. */
export function dataWeight({ from, to }: SolverStep): number {
  const expMinusH = Math.sqrt(((1 - to.alphaBar) * from.alphaBar) / (to.alphaBar * (1 - from.alphaBar)));
  return Math.sqrt(to.alphaBar) * (1 - expMinusH);
}

/** lambda = log(sqrt(abar) / sqrt(1 - abar)), half the log of the signal-to-noise ratio. */
export function lambda(alphaBar: number): number {
  return 0.5 * Math.log(alphaBar / (1 - alphaBar));
}
