import type { Combination, Prediction } from './prediction.js';
import type { NoiseLevel, SolverStep } from '../schedule/grid.js';

/** Asks the denoiser once more within a step. */
export type Evaluate = (x: Float32Array, level: NoiseLevel) => Promise<Prediction>;

/**
 * A one-step method for the probability flow ODE, or for its SDE with the noise given. It starts itself, so that SRDS can
 * cut a trajectory into blocks. Samples are variance preserving: x = sqrt(abar) x0 + sqrt(1 - abar) epsilon.
 */
export interface Solver {
  readonly name: string;
  /** Order of convergence of its global error. */
  readonly order: number;
  /** The one at the step's start included. A step that ends without noise may take fewer. */
  readonly evaluationsPerStep: number;
  /**
   * The sample at the end of a step; a pure function.
   * @param x sample at `step.from`
   * @param prediction what the denoiser says of `x` there
   * @param evaluate for further evaluations, one after the other
   */
  step(
    x: Float32Array,
    prediction: Prediction,
    step: SolverStep,
    evaluate: Evaluate,
  ): Float32Array | Promise<Float32Array>;
  /** The one sum of the prediction that the step comes to, if it is no more than that: it can be asked for beforehand. */
  combination?(step: SolverStep): Combination | undefined;
}

/** A step of the past: the sample at its start and what the denoiser said of it. */
export interface Past {
  readonly x: Float32Array;
  readonly prediction: Prediction;
  readonly step: SolverStep;
  /** Number of the step, from 0. */
  readonly index: number;
}

/** A method that uses earlier steps: for the serial sampler only, since its history breaks where blocks begin. */
export interface MultistepSolver {
  readonly name: string;
  readonly order: number;
  /** Earlier steps that it looks at. */
  readonly history: number;
  /**
   * The sample at the end of a step; a pure function.
   * @param now the step to take
   * @param past the steps before it, the last first, at most `history`
   */
  multistep(now: Past, past: readonly Past[]): Float32Array;
}

/** Any method that the serial sampler can use. */
export type AnySolver = Solver | MultistepSolver;

/** Whether a method needs earlier steps. */
export function isMultistep(solver: AnySolver): solver is MultistepSolver {
  return 'multistep' in solver;
}

/** Evaluations that a serial sampler makes for a grid: the last step, into a sample without noise, takes one. */
export function serialEvaluations(solver: AnySolver, steps: readonly SolverStep[]): number {
  const each = isMultistep(solver) ? 1 : solver.evaluationsPerStep;
  return steps.reduce((sum, { to }) => sum + (to.alphaBar === 1 ? 1 : each), 0);
}

/** All that a solver will ask of a prediction for steps that begin with it; undefined if that is not just sums. */
export function combinationsOf(solver: AnySolver, steps: readonly SolverStep[]): readonly Combination[] | undefined {
  if (isMultistep(solver)) return undefined;
  const known = steps.map((step) => solver.combination?.(step)).filter((combination) => combination !== undefined);
  return known.length === steps.length ? known : undefined;
}
