import { identical, rmsDifference } from '../tensor/operations.js';
import type { Block } from './block.js';
import type { BlockSolves, Solve, State } from './blockSolves.js';

/** x[p][i]: its state, and the depth at which iteration p found it. The state may be older: its own depth is that of its first finding. */
export interface BoundaryState {
  readonly state: State;
  readonly depth: number;
}

/**
 * The trajectory of every iteration and the serial one, each as far as it is known. Equal states are one object, so that nothing is
 * evaluated twice.
 */
export class Trajectories {
  /** x[p][i], [iteration][boundary]. */
  readonly rows: BoundaryState[][] = [];
  /** The serial trajectory, by fine solves of exact states alone: x[p][p] of every iteration. */
  readonly exact: BoundaryState[];
  /** The latest state at each boundary. */
  private readonly latest: State[] = [];
  /** Root mean squares of changes, [iteration][boundary], as far as they were asked for. */
  private readonly rms: (number | undefined)[][] = [];

  constructor(
    x: Float32Array,
    private readonly blocks: readonly Block[],
    private readonly solves: BlockSolves,
  ) {
    const state: State = { x, depth: 0, iteration: 0, exact: true };
    this.exact = [{ state, depth: 0 }];
    this.open();
    solves.evaluate(0, state);
  }

  /** Opens the next iteration. All iterations start at the noise. */
  open(): void {
    this.rows.push([this.exact[0]]);
    this.rms.push([]);
  }

  /** Number of boundaries of a whole trajectory, its start included. */
  get length(): number {
    return this.blocks.length + 1;
  }

  /** Frees the states of iteration p, which no later one refers to. */
  forget(p: number): void {
    if (p < 0) return;
    this.rows[p] = [];
    this.rms[p] = [];
  }

  /** The state that iteration p finds at boundary i: an earlier one if that is `===`, otherwise a new one, which is evaluated. */
  find(p: number, i: number, { x, depth }: Solve, exact = false): BoundaryState {
    const known = [p > 0 ? this.rows.at(p - 1)?.at(i)?.state : undefined, this.exact.at(i)?.state, this.latest.at(i)];
    const same = known.find((state) => state !== undefined && identical(state.x, x));
    const state = same ?? { x, depth, iteration: p, exact };
    if (exact) state.exact = true;
    this.latest[i] = state;
    if (!same && i < this.blocks.length) this.solves.evaluate(i, state);
    return { state, depth };
  }

  /** Root mean square of the change of boundaries `from` to `to` in iteration p. */
  changes(p: number, from: number, to: number): number[] {
    const [now, before, known] = [this.rows[p].slice(from, to + 1), this.rows[p - 1], this.rms[p]];
    return now.map(({ state }, k) => (known[from + k] ??= rmsDifference(state.x, before[from + k].state.x)));
  }

  /** Extends the serial trajectory up to boundary `last`. @param solvesFine whether to start the fine solve of each state */
  extendExact(last: number, solvesFine: boolean): void {
    const { exact } = this;
    while (exact.length <= last) {
      const i = exact.length - 1;
      const { isOneStep, exactFrom } = this.blocks[i];
      const { state } = exact[i];
      const solve = isOneStep ? state.g : state.f;
      if (!solve) break;
      const end = this.find(exactFrom + (isOneStep ? 0 : 1), i + 1, solve, true);
      exact.push(end);
      if (solvesFine && i + 1 < last) this.solves.solveFine(i + 1, end.state);
    }
  }
}
