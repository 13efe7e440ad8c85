import { identical } from '../tensor/operations.js';
import type { Block, Boundary } from './block.js';
import { correct, type Correction } from './corrections.js';
import type { State } from './evaluator.js';

/** x[p][i]: a boundary, and the depth at which it became known; it may be one that an earlier iteration had found. */
export interface Known {
  readonly boundary: Boundary;
  readonly depth: number;
}

/** x[p][0] to x[p][B], each known when its inputs are. One that fails does so where it is awaited, if anywhere. */
export type Iteration = readonly Promise<Known>[];

/**
 * Parareal's recurrence over the blocks of a trajectory, with a promise for every state (arXiv 2412.08292, algorithm 1):
 *
 *     x[0][i+1] = G_i(x[0][i])
 *     x[p][i+1] = F_i(x[p-1][i]) + ( G_i(x[p][i]) - G_i(x[p-1][i]) )
 *
 * A state that comes out `===` to that of the iteration before is the same object, so what depends on it is not solved
 * again: blocks that are exact cost nothing.
 */
export class Recurrence {
  private readonly start: Known;
  /** What was last found at each boundary, and the serial sampler's states as far as they are known. */
  private readonly latest: Boundary[] = [];
  private readonly settled: Boundary[] = [];

  /** @param x the initial noise */
  constructor(
    private readonly blocks: readonly Block[],
    private readonly correction: Correction,
    x: Float32Array,
  ) {
    this.start = { boundary: { x, depth: 0, iteration: 0 }, depth: 0 };
  }

  /** Iteration 0. */
  coarseSweep(): Iteration {
    return this.from([this.start], async (block, now) => {
      const { x, depth } = await block.coarse((await now).boundary);
      return this.found({ x, depth, iteration: 0 }, block);
    });
  }

  /**
   * The serial sampler's states, by fine solves alone: x[p][p] of every iteration, and never in vain.
   * @param count of blocks that are crossed
   */
  serial(count: number): Iteration {
    const cross = async (block: Block, now: Promise<Known>): Promise<Known> => {
      const { boundary } = await now;
      const { x, depth } = block.single ? await block.coarse(boundary) : await block.fine(boundary, 0);
      const iteration = block.certain + (block.single ? 0 : 1);
      const known = this.found({ x, depth, iteration }, block);
      this.settled[block.index + 1] = known.boundary;
      return known;
    };
    return this.from([this.start], cross, count);
  }

  /**
   * Iteration p from the two before it.
   * @param older iteration p - 2; undefined for p = 1
   * @param serial the serial sampler's states, with which it begins, if they are found by themselves
   * @param gate depth before which no fine solve may go on
   */
  refine(
    p: number,
    before: Iteration,
    older: Iteration | undefined,
    { serial, gate }: { readonly serial?: Iteration | undefined; readonly gate: number },
  ): Iteration {
    return this.from(serial?.slice(0, p + 1) ?? [this.start], async (block, now) => {
      const i = block.index;
      const { x, depth, unchanged } = await this.cross(block, now, before[i], older?.[i], gate);
      const end = await before[i + 1];
      return unchanged ? end : this.found({ x, depth, iteration: p }, block, end.boundary);
    });
  }

  /** A state at the end of a block, as the object that it was before if it is that. */
  private found(boundary: Boundary, { index }: Block, before?: Boundary): Known {
    const known = [before, this.settled.at(index + 1), this.latest.at(index + 1)];
    const same = known.find((other) => other !== undefined && identical(boundary.x, other.x)) ?? boundary;
    this.latest[index + 1] = same;
    return { boundary: same, depth: boundary.depth };
  }

  /** A row whose first states are known, across so many blocks. */
  private from(
    known: readonly (Known | Promise<Known>)[],
    next: (block: Block, now: Promise<Known>) => Promise<Known>,
    count = this.blocks.length,
  ): Iteration {
    const row = known.map((state) => Promise.resolve(state));
    for (const block of this.blocks.slice(known.length - 1, count)) {
      const end = next(block, row[block.index]);
      end.catch(() => undefined);
      row.push(end);
    }
    return row;
  }

  /** The end of a block from its start in this iteration, `now`, and in the two before. */
  private async cross(
    block: Block,
    nowKnown: Promise<Known>,
    beforeKnown: Promise<Known>,
    olderKnown: Promise<Known> | undefined,
    gate: number,
  ): Promise<State & { readonly unchanged: boolean }> {
    const { boundary: before } = await beforeKnown;
    // The fine solve needs nothing of this iteration: it starts while `now` is still to come.
    if (!block.single) void block.fine(before, gate);
    const { boundary: now } = await nowKnown;
    const older = (await olderKnown)?.boundary;

    const crossedBefore = now === before && (block.single || before === older);
    if (crossedBefore) return { ...now, unchanged: true };
    if (block.single) return { ...(await block.coarse(now)), unchanged: false };

    const f = await block.fine(before, gate);
    if (now === before) return { ...f, unchanged: false };
    const [gNow, g] = await Promise.all([block.coarse(now), block.coarse(before)]);
    const x = correct(this.correction, {
      now: { x: now.x, g: gNow.x },
      before: { x: before.x, f: f.x, g: g.x },
      older: older && { x: older.x, f: (await block.fine(older, gate)).x, g: (await block.coarse(older)).x },
    });
    return { x, depth: Math.max(f.depth, gNow.depth), unchanged: false };
  }
}
