import type { Processor } from '../device.js';

/** A batch may take this many times the longest known time, and in any case so many seconds. */
const FACTOR = 20;
const LEAST_S = 120;
/** Limit of a first run on a GPU in seconds. A big model on a slow CPU may take any time, so there is none. */
const FIRST_S = 3600;

/** Seconds that a request of which nothing is known may take. */
export function firstLimit({ kind }: Processor): number {
  return kind === 'cpu' ? Infinity : FIRST_S;
}

/** The latency of batches by their shape and rows, as a limit on the next ones. */
export class BatchTimes {
  /** The longest time of each shape, in seconds, for a batch and for a row of one. */
  private readonly longest = new Map<string, { batch: number; row: number }>();

  constructor(private readonly device: Processor) {}

  add(shape: string, rows: number, seconds: number): void {
    const { batch, row } = this.longest.get(shape) ?? { batch: 0, row: 0 };
    this.longest.set(shape, { batch: Math.max(batch, seconds), row: Math.max(row, seconds / rows) });
  }

  /** Seconds after which a batch counts as hung. */
  limit(shape: string, rows: number): number {
    const known = this.longest.get(shape);
    if (!known) return firstLimit(this.device);
    return Math.max(LEAST_S, FACTOR * Math.max(known.batch, known.row * rows));
  }
}
