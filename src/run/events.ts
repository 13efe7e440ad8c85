import type { TaskId } from '../sampler/sampler.js';

/** Numbers of denoiser evaluations. With guidance an evaluation is two rows of the network. */
export interface EvaluationCount {
  /** Length of the longest chain in which each evaluation needs the one before: the run's length if all batches cost the same. */
  readonly critical: number;
  /** All finished evaluations, speculative ones included; in a result also those still running when it was reached. */
  readonly total: number;
}

/** An iteration is complete. Iteration 0 is the coarse sweep. */
export interface IterationEvent {
  readonly type: 'iteration';
  readonly iteration: number;
  /** The sample so far, [size]; read-only. */
  readonly x: Float32Array;
  /** The state at each block boundary, from the noise to `x`; read-only. */
  readonly boundaries: readonly Float32Array[];
  /** How far the run is from convergence, by `DriveOptions.residual`; undefined for iteration 0. */
  readonly residual: number | undefined;
  /** Whether the iteration updated the whole trajectory, so that a small residual means convergence. */
  readonly reachesEnd: boolean;
  readonly evaluations: EvaluationCount;
}

/** An evaluation has finished. */
export interface EvaluationEvent extends TaskId {
  readonly type: 'evaluation';
  readonly evaluations: EvaluationCount;
}

/** Events of a run. Progress, previews, charts and metrics are made from them. */
export type SamplerEvent = IterationEvent | EvaluationEvent;

/**
 * How a run ended. `converged`: the residual fell below the tolerance. `exact`: the result is the serial sample. `maxIterations`:
 * neither within the allowed iterations. `aborted`: by its signal.
 */
export type Status = 'converged' | 'exact' | 'maxIterations' | 'aborted';

/** Result of a run. */
export interface SampleResult {
  readonly status: Status;
  /** The sample, [size]; of an aborted run the last iterate, or the noise if there was none. */
  readonly x: Float32Array;
  /** Iterations after the coarse sweep; 0 for the serial sampler. */
  readonly iterations: number;
  /** The residual of each iteration. */
  readonly residuals: readonly number[];
  readonly evaluations: EvaluationCount;
}
