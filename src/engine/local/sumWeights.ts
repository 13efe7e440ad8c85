import { SUM_WEIGHTS, SUMS_PER_PAIR } from '../../onnx/pairSums.js';
import type { OutputRow, WeightedSums } from '../engine.js';
import type { BucketSession } from '../bucketSession.js';
import type { WireBatch } from './protocol.js';

/** Weights of a sum in the graph: of the input, and of both rows of a pair. */
const TERMS = 3;

/** The weights of the sums that a bucket's graph computes (`appendPairSums`). */
export class SumWeights {
  private readonly pairs: number;
  /** [term][pair][sum] */
  private readonly data: Float32Array;

  /** @param rows of the bucket */
  constructor(session: BucketSession, rows: number) {
    this.pairs = rows / 2;
    this.data = session.allocate(SUM_WEIGHTS, 'float32', [TERMS, this.pairs, SUMS_PER_PAIR, 1]) as Float32Array;
  }

  /** Whether the graph computes the sums that the evaluations of a batch ask for: all of two rows, with few sums. */
  static fits({ sums, conditioning }: WireBatch): boolean {
    if (!sums) return false;
    return conditioning.every((ids, k) => ids?.length === 2 && sums[k].length <= SUMS_PER_PAIR);
  }

  /** The sums that evaluations ask for, of those that the graph has computed. @param size elements of a sum */
  static taken(output: OutputRow, sums: readonly WeightedSums['weights'][], size: number): OutputRow[] {
    return sums.map(({ length }, pair) => {
      const first = pair * SUMS_PER_PAIR * size;
      return output.subarray(first, first + length * size);
    });
  }

  /** Writes the weights of each evaluation's sums. @param written receives the name of the input */
  load(sums: readonly WeightedSums['weights'][], written: Set<string>): void {
    const { data, pairs } = this;
    sums.forEach((weights, pair) =>
      weights.forEach((terms, sum) =>
        terms.forEach((weight, term) => (data[(term * pairs + pair) * SUMS_PER_PAIR + sum] = weight)),
      ),
    );
    written.add(SUM_WEIGHTS);
  }
}
