import type { NoiseLevel } from '../schedule/grid.js';
import type { Combination, Prediction } from '../solver/prediction.js';

/** One evaluation that a sampler asks for. */
export interface DenoiseRequest {
  /** sample at `level`, flat */
  readonly x: Float32Array;
  readonly level: NoiseLevel;
  /** Of several requests that wait, the lowest goes first, compared entry by entry. */
  readonly priority: readonly number[];
  /** Whether the answer may turn out to have been of no use; a device that is busy with others may leave it till last. */
  readonly speculative?: boolean;
  /** All that will be asked of the prediction, if that is known: the denoiser need not find x0 and epsilon then. */
  readonly only?: readonly Combination[] | undefined;
  /** Aborted when the answer is no longer wanted; rejecting then saves the evaluation. */
  readonly signal: AbortSignal;
}

/**
 * A denoising network with its prediction type and guidance resolved; all that a sampler knows of a model. Requests may
 * overlap: answering several at once is what makes SRDS fast. The same request must give the same answer.
 */
export type Denoiser = (request: DenoiseRequest) => Promise<Prediction>;
