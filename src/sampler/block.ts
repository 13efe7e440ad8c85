import type { SolverStep } from '../schedule/grid.js';
import { combinationsOf, type Solver } from '../solver/solver.js';
import type { Evaluated, Evaluator, State } from './evaluator.js';

/** A state at the start of a block, found in an iteration. Solves are remembered by it: each is made once. */
export interface Boundary extends State {
  readonly iteration: number;
}

/** A block of the fine grid with its two solvers. */
export class Block {
  private readonly evaluated = new WeakMap<Boundary, Promise<Evaluated>>();
  private readonly coarseSolves = new WeakMap<Boundary, Promise<State>>();
  private readonly fineSolves = new WeakMap<Boundary, Promise<State>>();

  private readonly fineSteps: readonly SolverStep[];
  private readonly coarseStep: SolverStep;
  /** Iteration from which on the state at its start is the serial sampler's, whatever the model. */
  readonly certain: number;

  constructor(
    readonly index: number,
    steps: { readonly fine: readonly SolverStep[]; readonly coarse: SolverStep; readonly certain: number },
    private readonly solver: Solver,
    private readonly evaluator: Evaluator,
  ) {
    this.fineSteps = steps.fine;
    this.coarseStep = steps.coarse;
    this.certain = steps.certain;
  }

  /** Whether the block has one step, so that both solvers are the same. */
  get single(): boolean {
    return this.fineSteps.length === 1;
  }

  /** G: the whole block in one solver step. */
  coarse(boundary: Boundary): Promise<State> {
    return remember(this.coarseSolves, boundary, async () => {
      const start = await this.atBoundary(boundary);
      const place = { iteration: boundary.iteration, block: this.index, step: 0, speculative: true };
      return this.evaluator.advance(this.solver, boundary, start, this.coarseStep, place);
    });
  }

  /**
   * F: the block in its fine steps.
   * @param gate depth before which no further evaluation may begin; the first solve from a boundary decides
   */
  fine(boundary: Boundary, gate: number): Promise<State> {
    return remember(this.fineSolves, boundary, async () => {
      let state: State = boundary;
      for (const [j, step] of this.fineSteps.entries()) {
        const speculative = !this.isExact(boundary);
        const place = { iteration: boundary.iteration + 1, block: this.index, step: j, speculative };
        const start =
          j === 0
            ? await this.atBoundary(boundary).then((at) => ({ ...at, depth: Math.max(at.depth, gate) }))
            : await this.evaluator.evaluate(state, step.from, place, combinationsOf(this.solver, [step]));
        state = await this.evaluator.advance(this.solver, state, start, step, place);
      }
      return state;
    });
  }

  /** The evaluation at the boundary serves the coarse step and the first fine step. */
  private atBoundary(boundary: Boundary): Promise<Evaluated> {
    return remember(this.evaluated, boundary, () => {
      const { iteration } = boundary;
      const place = { iteration, block: this.index, step: 0, speculative: !this.isExact(boundary) };
      const steps = this.single ? [this.coarseStep] : [this.coarseStep, this.fineSteps[0]];
      return this.evaluator.evaluate(boundary, this.coarseStep.from, place, combinationsOf(this.solver, steps));
    });
  }

  /** Whether a state at the start of the block is certain to be the serial sampler's: its iteration has come this far. */
  private isExact({ iteration }: Boundary): boolean {
    return iteration >= this.certain;
  }
}

function remember<Value>(
  values: WeakMap<Boundary, Promise<Value>>,
  boundary: Boundary,
  make: () => Promise<Value>,
): Promise<Value> {
  const known = values.get(boundary);
  if (known) return known;
  const value = make();
  value.catch(() => undefined);
  values.set(boundary, value);
  return value;
}
