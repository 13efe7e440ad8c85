import type { Prediction } from '../solver/prediction.js';
import { stepGenerator, type Solver } from '../solver/solver.js';
import type { Block } from './block.js';
import type { Tasks } from './tasks.js';

/** F or G of a state, [size], and the length of the longest chain of evaluations behind it. */
export interface Solve {
  readonly x: Float32Array;
  readonly depth: number;
}

/** x[p][i], with F and G of it once they are known. Equal states are one object, so that nothing is solved twice. */
export interface State extends Solve {
  /** Iteration that found it. */
  readonly iteration: number;
  /** Whether it is known to be the serial sampler's. */
  exact: boolean;
  f?: Solve;
  g?: Solve;
  /** Prediction at the state, kept until F starts. */
  prediction?: Prediction | undefined;
  /** Depth before which F must not start; undefined while F is not needed. */
  minDepth?: number;
}

/** Computes F and G of states at the starts of blocks. */
export class BlockSolves {
  constructor(
    private readonly blocks: readonly Block[],
    private readonly solver: Solver,
    private readonly tasks: Tasks,
  ) {}

  /** Evaluates a new state at the start of block i. The evaluation serves G and the first step of F. */
  evaluate(i: number, state: State): void {
    const { x, depth, iteration, exact } = state;
    const { coarse } = this.blocks[i];
    const id = { iteration, block: i, step: 0, stage: 0 };
    this.tasks.add({ id, x, level: coarse.from, depth, speculative: !exact }, (prediction) => {
      const first = { id, depth: depth + 1, speculative: true };
      this.tasks.step(stepGenerator(this.solver, x, prediction, coarse), first, (end, at) => {
        state.g = { x: end, depth: at };
      });
      state.prediction = prediction;
      this.startFine(i, state);
    });
  }

  /** Computes F of a state too, once; nothing at the end of the trajectory. @param minDepth depth before which it must not start */
  solveFine(i: number, state: State, minDepth = 0): void {
    if (i === this.blocks.length || this.blocks[i].isOneStep || state.minDepth !== undefined) return;
    state.minDepth = minDepth;
    this.startFine(i, state);
  }

  private startFine(i: number, state: State): void {
    const { x, depth, prediction, minDepth } = state;
    if (!prediction || minDepth === undefined) return;
    state.prediction = undefined;
    this.fineStep(i, state, 0, { x, depth: Math.max(depth + 1, minDepth) }, prediction);
  }

  /** Fine step j of block i, and those after it. @param start its start, with the depth after the evaluation there */
  private fineStep(i: number, from: State, j: number, start: Solve, prediction: Prediction): void {
    const { fine } = this.blocks[i];
    const id = { iteration: from.iteration + 1, block: i, step: j, stage: 0 };
    const first = { id, depth: start.depth, speculative: !from.exact };
    this.tasks.step(stepGenerator(this.solver, start.x, prediction, fine[j]), first, (x, depth) => {
      if (j + 1 === fine.length) {
        from.f = { x, depth };
        return;
      }
      const task = { id: { ...id, step: j + 1 }, x, level: fine[j + 1].from, depth, speculative: !from.exact };
      this.tasks.add(task, (next) => this.fineStep(i, from, j + 1, { x, depth: depth + 1 }, next));
    });
  }
}
