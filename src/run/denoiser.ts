import type { NoiseLevel } from '../schedule/grid.js';
import type { Prediction } from '../solver/prediction.js';

/** One evaluation. */
export interface DenoiseRequest {
  /** Sample at `level`, [size]. */
  readonly x: Float32Array;
  readonly level: NoiseLevel;
  /** Order among pending requests: the lowest goes first, compared entry by entry. */
  readonly priority: readonly number[];
  /** Whether the prediction may turn out to be useless; a busy device may run the request last. */
  readonly speculative?: boolean;
  /** Aborted when the prediction is no longer needed; rejecting then saves the evaluation. */
  readonly signal: AbortSignal;
}

/**
 * A denoising network with its prediction type and guidance resolved. Requests may overlap: answering several at once is what
 * makes parallel samplers fast. Equal requests must give equal predictions.
 */
export type Denoiser = (request: DenoiseRequest) => Promise<Prediction>;
