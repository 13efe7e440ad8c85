import type { NoiseSchedule } from '../schedule/grid.js';
import { dataStep, lambda } from './dpm1.js';
import type { Solver } from './solver.js';

/**
 * DPM-Solver++ 2S: a step of second order that evaluates halfway in lambda, at s, and uses that prediction for the whole step:
 *
 *     u  = dpm1(x, x0(x), from -> s)        lambda(s) = (lambda + lambda') / 2
 *     x' = dpm1(x, x0(u), from -> to)
 *
 * A step that ends without noise, where lambda' is infinite, is of first order. Source: Lu et al. 2022b, algorithm 1 with
 * r = 1/2. diffusers' DPMSolverSinglestepScheduler counts both evaluations as steps.
 * @param schedule finds s between the timesteps of the training
 */
export function dpm2s(schedule: Pick<NoiseSchedule, 'of'>): Solver {
  return {
    name: 'dpm2s',
    order: 2,
    evaluationsPerStep: 2,
    *step(x, { x0 }, step) {
      const { from, to } = step;
      if (to.alphaBar === 1) return dataStep(x, x0, step);
      const middle = (lambda(from.alphaBar) + lambda(to.alphaBar)) / 2;
      const s = schedule.of(1 / (1 + Math.exp(-2 * middle)));
      const u = dataStep(x, x0, { from, to: s });
      const { x0: there } = yield { x: u, level: s };
      return dataStep(x, there, step);
    },
  };
}
