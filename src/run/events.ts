/** Evaluations spent: one denoiser evaluation each, two rows of the network with guidance. */
export interface EvaluationCount {
  /** the longest chain in which each needs the one before: the run's length where batches cost the same */
  readonly critical: number;
  /** all that are done, speculative ones included; in a result also those that were under way when it was reached */
  readonly total: number;
}

/** An iteration is complete. Iteration 0 is the coarse sweep. */
export interface IterationEvent {
  readonly type: 'iteration';
  readonly iteration: number;
  /** The sample so far; not to be changed. */
  readonly x: Float32Array;
  /** The state at each block boundary, from the noise to `x`; not to be changed. */
  readonly boundaries: readonly Float32Array[];
  /** Change of the sample since the iteration before, in the unit of the residual; undefined for iteration 0. */
  readonly residual: number | undefined;
  readonly evaluations: EvaluationCount;
}

/** An evaluation has come back. */
export interface EvaluationEvent {
  readonly type: 'evaluation';
  /** The iteration it works for. The serial sampler has none but 0. */
  readonly iteration: number;
  readonly block: number;
  /** Fine step within the block; 0 serves the coarse step too. */
  readonly step: number;
  /** Which evaluation of the step, for solvers that take more than one. */
  readonly stage: number;
  readonly evaluations: EvaluationCount;
}

/** What samplers emit; everything that is shown anywhere is made from these. */
export type SamplerEvent = IterationEvent | EvaluationEvent;

/** How far the sample has moved in an iteration. */
export type Residual = (now: Float32Array, before: Float32Array, iteration: number) => number | Promise<number>;

/**
 * How a run ended: `converged`, the residual fell below the tolerance; `exact`, it is the serial sample; `maxIterations`,
 * neither within the iterations allowed; `aborted`, by its signal.
 */
export type Status = 'converged' | 'exact' | 'maxIterations' | 'aborted';

/** What a sampler returns. */
export interface SampleResult {
  readonly status: Status;
  /** The sample; of an aborted run the last iterate, or the noise if there was none. */
  readonly x: Float32Array;
  /** Refinements after the coarse sweep; 0 for the serial sampler. */
  readonly iterations: number;
  /** The residual of each iteration. */
  readonly residuals: readonly number[];
  readonly evaluations: EvaluationCount;
}
