import { SrdsError } from '../errors.js';
import type { NoiseLevel, SolverStep } from '../schedule/grid.js';
import type { Prediction } from './prediction.js';

/** A further evaluation within a step: the denoiser at `x`, a sample with the noise of `level`. */
export interface Query {
  readonly x: Float32Array;
  readonly level: NoiseLevel;
}

/** A step that evaluates more than once: it yields its queries, receives their predictions and returns the sample at its end. */
export type StepGenerator = Generator<Query, Float32Array, Prediction>;

/**
 * A one-step method for the probability flow ODE, or for its SDE with the noise given. It needs no history, so SRDS can cut a
 * trajectory into blocks. Samples are variance preserving: x = sqrt(abar) x0 + sqrt(1 - abar) epsilon.
 */
export interface Solver {
  readonly name: string;
  /** Order of convergence of the global error. */
  readonly order: number;
  /** Evaluations of a step, the one at its start included. A step that ends without noise may take fewer. */
  readonly evaluationsPerStep: number;
  /**
   * The sample at the end of a step; a pure function. A solver with further evaluations yields them (a generator).
   * @param x sample at `step.from`
   * @param prediction of the denoiser for `x` at `step.from`
   */
  step(x: Float32Array, prediction: Prediction, step: SolverStep): Float32Array | StepGenerator;
  /** Of a solver with a mask: the solver without it, and what puts back the known part of a sample at a noise level. */
  readonly mask?: {
    readonly solver: Solver;
    readonly keep: (x: Float32Array, level: NoiseLevel) => Float32Array;
  };
}

/** A step of the past: the sample at its start and its prediction. */
export interface Past {
  readonly x: Float32Array;
  readonly prediction: Prediction;
  readonly step: SolverStep;
  /** Index of the step, from 0. */
  readonly index: number;
}

/** A method that uses earlier steps. It is for the serial sampler only, since its history would break at block boundaries. */
export interface MultistepSolver {
  readonly name: string;
  readonly order: number;
  /** Number of earlier steps that it uses. */
  readonly history: number;
  /**
   * The sample at the end of a step; a pure function.
   * @param now the step to take
   * @param past the steps before it, the latest first, at most `history`
   */
  multistep(now: Past, past: readonly Past[]): Float32Array;
}

/** Any method that the serial sampler can use. */
export type AnySolver = Solver | MultistepSolver;

/** Whether a method needs earlier steps. */
export function isMultistep(solver: AnySolver): solver is MultistepSolver {
  return 'multistep' in solver;
}

/** A step as a generator, whether or not it evaluates further. */
export function* stepGenerator(
  solver: Solver,
  x: Float32Array,
  prediction: Prediction,
  step: SolverStep,
): StepGenerator {
  const end = solver.step(x, prediction, step);
  return end instanceof Float32Array ? end : yield* end;
}

/** Number of evaluations of the serial sampler on a grid: the last step, into a sample without noise, takes one. */
export function serialEvaluations(solver: AnySolver, steps: readonly SolverStep[]): number {
  const each = isMultistep(solver) ? 1 : solver.evaluationsPerStep;
  return steps.reduce((sum, { to }) => sum + (to.alphaBar === 1 ? 1 : each), 0);
}

/**
 * `solver`, if it is a one-step method.
 * @throws SrdsError INVALID_OPTION for a multistep method
 */
export function oneStepSolver(solver: AnySolver): Solver {
  if (!isMultistep(solver)) return solver;
  throw new SrdsError(
    'INVALID_OPTION',
    'a one-step solver for a parallel sampler, whose blocks have no history',
    `${solver.name}, a multistep solver`,
    'use ddim, ddpm, euler, heun, dpm1 or dpm2s, or the serial sampler',
  );
}

/**
 * `solver`, if it is a one-step method with one evaluation a step.
 * @throws SrdsError INVALID_OPTION otherwise
 */
export function oneEvaluationSolver(given: AnySolver): Solver {
  const solver = oneStepSolver(given);
  if (solver.evaluationsPerStep === 1) return solver;
  throw new SrdsError(
    'INVALID_OPTION',
    'a solver with one evaluation a step, for a sampler that evaluates all steps at once',
    `${solver.name}, which takes ${solver.evaluationsPerStep}`,
    'use ddim, ddpm, euler or dpm1, or the sampler srds',
  );
}
