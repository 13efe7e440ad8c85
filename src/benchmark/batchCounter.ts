import type { BatchReport } from '../engine/batcher.js';
import { isDenoiser } from '../model/graphNames.js';

/** Counts the batches of a pipeline. Pass `count` to the pipeline as `onBatch`. */
export class BatchCounter {
  /** Seconds of the batches, over all devices; text encoders do not count. */
  seconds = 0;
  /** Number of the denoising network's batches by their padded rows. */
  batches: Record<number, number> = {};

  readonly count = ({ graph, paddedRows, networkMs }: BatchReport): void => {
    if (!graph.startsWith('text_encoder')) this.seconds += networkMs / 1000;
    if (isDenoiser(graph)) this.batches[paddedRows] = (this.batches[paddedRows] ?? 0) + 1;
  };

  /** Starts again from zero. */
  reset(): void {
    this.seconds = 0;
    this.batches = {};
  }
}
