import type { Prediction } from '../denoiser/prediction.js';
import type { SolverStep } from '../schedule/grid.js';

/** A one-step method for the probability flow ODE, of one evaluation a step. It starts itself: no history. */
export interface Solver {
  readonly name: string;
  /** Order of convergence of its global error. */
  readonly order: number;
  /**
   * The sample at the end of a step; a pure function.
   * @param x sample at `step.from`
   * @param prediction what the denoiser says of `x` there
   */
  step(x: Float32Array, prediction: Prediction, step: SolverStep): Float32Array;
}
