import { dataStep, dataWeight, lambda } from './dpm1.js';
import type { MultistepSolver } from './solver.js';

/** Options of diffusers' DPMSolverMultistepScheduler for the last step and for the weight of the second order. */
export interface Dpm2mOptions {
  /** Whether the last step is of first order. It always is if it ends without noise. */
  readonly firstOrderAtEnd: boolean;
  readonly solverType: 'midpoint' | 'heun';
}

/**
 * DPM-Solver++ 2M, with r = h_before / h and m the predicted samples of this step and the one before:
 *
 *     D1 = (m - m_before) / r
 *     x' = dpm1(x, m) + w D1        w = -sqrt(abar') (e^-h - 1) / 2, or with type heun sqrt(abar') ((e^-h - 1) / h + 1)
 *
 * Source: Lu et al. 2022b, algorithm 2; diffusers multistep_dpm_solver_second_order_update.
 */
export function dpm2m({ firstOrderAtEnd, solverType }: Dpm2mOptions): MultistepSolver {
  return {
    name: 'dpm2m',
    order: 2,
    history: 1,
    multistep({ x, prediction, step }, [before]) {
      const first = dataStep(x, prediction.x0, step);
      const { from, to } = step;
      if (!(before as typeof before | undefined) || to.alphaBar === 1 || (firstOrderAtEnd && to.t < 0)) return first;
      const h = lambda(to.alphaBar) - lambda(from.alphaBar);
      const r = (lambda(from.alphaBar) - lambda(before.step.from.alphaBar)) / h;
      const full = dataWeight(step);
      const weight = solverType === 'midpoint' ? full / 2 : Math.sqrt(to.alphaBar) - full / h;
      return first.map((value, k) => value + (weight / r) * (prediction.x0[k] - before.prediction.x0[k]));
    },
  };
}
