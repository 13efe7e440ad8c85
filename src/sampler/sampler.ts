import type { NoiseLevel } from '../schedule/grid.js';
import type { Prediction } from '../solver/prediction.js';

/** Which evaluation of a trajectory a task is. */
export interface TaskId {
  /** Iteration that the evaluation is for; 0 for the serial sampler and for coarse sweeps. */
  readonly iteration: number;
  readonly block: number;
  /** Fine step within the block. Step 0 serves the coarse step too. */
  readonly step: number;
  /** Evaluation within the step, for solvers with more than one. */
  readonly stage: number;
}

/** An evaluation of the denoiser that a sampler needs. */
export interface Task {
  readonly id: TaskId;
  /** Sample at `level`, [size]. */
  readonly x: Float32Array;
  readonly level: NoiseLevel;
  /** Number of evaluations that had to come one after the other before this one. */
  readonly depth: number;
  /** Whether `x` may still change, so that the evaluation may turn out to be useless. */
  readonly speculative: boolean;
}

/** The trajectory at the end of an iteration. */
export interface Iterate {
  readonly iteration: number;
  /** States at the boundaries, from the noise to the sample, each [size]; none for the serial sampler, which does not iterate. */
  readonly states: readonly Float32Array[];
  /** The sample, [size]. */
  readonly x: Float32Array;
  /** Length of the longest chain of evaluations behind it. */
  readonly depth: number;
  /**
   * Root mean square of the change that the next iterations are predicted to make to the sample, or of the largest change of a state in
   * the last pass of a fixed-point sampler; undefined in iteration 0 and for samplers that do not iterate.
   */
  readonly predictedChange?: number | undefined;
  /** Whether the iteration updated the trajectory up to its end, so that a small change of the sample means convergence. */
  readonly reachesEnd: boolean;
  /** Why this is the sampler's last iterate; undefined if it goes on. */
  readonly final: 'exact' | 'converged' | 'maxIterations' | undefined;
}

/**
 * A sampler as a synchronous state machine: it lists the evaluations that it needs, takes their predictions in any order, and
 * reports iterates. It does no I/O and knows nothing of time; `drive` runs it against a denoiser, `simulate` in virtual time.
 */
export interface Sampler {
  /** The sample of the last iterate; at first the initial noise, [size]. */
  readonly sample: Float32Array;
  /** Whether the evaluations of an iteration start only when the caller wants it to go on after the last iterate. */
  readonly hasBarriers: boolean;
  /** Takes the evaluations that have become possible since the last call. */
  ready(): readonly Task[];
  /** Hands in the prediction of a task from `ready`. */
  finish(task: Task, prediction: Prediction): void;
  /** Takes the iterates that have been completed since the last call, in order. */
  completed(): readonly Iterate[];
}
