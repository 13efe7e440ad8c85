import type { Block } from './block.js';
import { changeBeyondRounding } from './rounding.js';
import type { BoundaryState, Trajectories } from './trajectories.js';

/** Changes below this are rounding errors, whose growth says nothing. */
const LEAST_CHANGE = 1e-4;
/** An iteration is not relied on to leave less than this share of the last change, whatever the boundaries known so far say. */
const LEAST_SHARE = 0.2;

/**
 * Predicts how much the next iterations of SRDS will change the sample. When x[p][B] is known, pipelining has found x[p+1][i] at
 * the first half to three quarters of the boundaries already.
 */
export class LookAhead {
  /** For each iteration p, the last boundary of iteration p + 1 that predicts the change. */
  private readonly last: readonly number[];

  constructor(
    blocks: readonly Block[],
    private readonly trajectories: Trajectories,
    private readonly roundingLimit: number,
  ) {
    this.last = lookAheadBoundaries(blocks);
  }

  /** The boundaries of iteration p + 1 that predict its change; undefined until all of them are known. */
  boundaries(p: number): readonly BoundaryState[] | undefined {
    const next = this.trajectories.rows[p + 1];
    // Boundary p + 1 is exact from iteration p + 1 on, so its change is not part of what remains.
    return next.length > this.last[p] ? next.slice(p + 2, this.last[p] + 1) : undefined;
  }

  /** Predicted root mean square of the change of the sample after iteration p. @param known number of its `boundaries` */
  predictedChange(p: number, known: number): number {
    const { trajectories } = this;
    const end = trajectories.rows[p].length - 1;
    const from = p + 2;
    // In the iteration before the exact one nothing lies between: the last change remains.
    const last = trajectories.changes(p, Math.min(from, end), end);
    const next = Array.from({ length: known }, (_, k) => this.nextChange(p, from + k));
    return predictedChange(last, next);
  }

  /** Root mean square of the change of boundary i in iteration p + 1, without rounding. */
  private nextChange(p: number, i: number): number {
    const { trajectories, roundingLimit } = this;
    if (roundingLimit === 0) return trajectories.changes(p + 1, i, i)[0];
    const [older, before, now] = trajectories.rows.slice(p - 1, p + 2).map((row) => row[i].state.x);
    return changeBeyondRounding(now, before, older, roundingLimit);
  }
}

/**
 * The last boundary of iteration p + 1 that is known when iteration p is complete, for p = 0, 1, ..., if every evaluation takes
 * the same time. Predictions use the boundaries up to there whatever the evaluations take in fact, so that timing changes no
 * decision. Only where the serial course is complete before one is made, the sample is the serial one.
 *
 * In units of one step, x[p][i+1] is known at d[p][i+1] = max(d[p-1][i] + steps of block i, d[p][i] + 1).
 */
export function lookAheadBoundaries(blocks: readonly Pick<Block, 'fine' | 'isOneStep'>[]): readonly number[] {
  const known: number[] = [];
  let before = [0, ...blocks.map((_, i) => i + 1)];
  for (let p = 1; p <= blocks.length; p++) {
    const now = [0];
    for (const [i, { fine, isOneStep }] of blocks.entries()) {
      const coarse = now[i] + 1;
      // An exact state needs no coarse step.
      now.push(isOneStep ? coarse : Math.max(before[i] + fine.length, i < p ? 0 : coarse));
    }
    const end = before[blocks.length];
    known.push(now.findLastIndex((time) => time <= end));
    before = now;
  }
  return known;
}

/**
 * Root mean square of the change that the next two iterations are predicted to make to the sample. The change of each boundary
 * that the next iteration has found is taken to grow towards the end of the trajectory as in the last iteration, if it grew there,
 * and the iteration after that to change as much less again:
 *
 *     e = max over known boundaries i of  m[p+1][i] max(1, m[p][B] / m[p][i]),  and at least m[p][B] / 5
 *     e + e min(1, e / m[p][B])
 *
 * Where nothing is known of the next iteration, m[p][B] itself.
 *
 * A sample that bifurcates can move little in one iteration and much in the next. The middle of its trajectory moves first, and
 * changes that do not shrink are a sign of it.
 * @param last rms changes of some boundaries and all later ones in the last iteration, m[p][i]..m[p][B]; at least the last
 * @param next rms changes of the first of these in the next iteration, m[p+1][i]...
 */
export function predictedChange(last: readonly number[], next: readonly number[]): number {
  const end = last[last.length - 1];
  if (next.length === 0) return end;
  const grown = next.map((change, k) => change * Math.max(1, end / Math.max(last[k], LEAST_CHANGE)));
  const change = Math.max(LEAST_SHARE * end, ...grown);
  return change * (1 + Math.min(1, change / Math.max(end, LEAST_CHANGE)));
}
