import { nonNegative, wholeNumber } from '../errors.js';
import type { SolverStep } from '../schedule/grid.js';
import { span } from '../schedule/span.js';
import { posteriorSpread } from '../solver/ddpm.js';
import { toPrediction, type Prediction } from '../solver/prediction.js';
import { oneEvaluationSolver, type Solver } from '../solver/solver.js';
import { identical, meanSquaredDifference, rmsDifference } from '../tensor/operations.js';
import type { Iterate, Sampler, Task } from './sampler.js';
import type { SerialOptions } from './serial.js';
import { Tasks } from './tasks.js';

/** Options that the fixed-point samplers share. The solver must be a one-step method with one evaluation a step. */
export interface FixedPointOptions extends SerialOptions {
  /** Number of states that a pass updates, so as to fit a device's batch; default: all. */
  readonly window?: number | undefined;
  /**
   * How far the window moves after a pass: past the states whose mean squared change is at most windowTolerance^2 times the
   * variance of DDPM's noise there; with 0, the default, past those that are exact. Source: Shih et al. 2023, algorithm 1.
   */
  readonly windowTolerance?: number | undefined;
  /** Last pass; default: as many as steps, when the sample is exact. */
  readonly maxIterations?: number | undefined;
}

/** The states that a pass updates, and their predictions. */
export interface Window {
  /** Index of its first state in the trajectory, from 0. */
  readonly front: number;
  /** [steps + 1], the first of them final. */
  readonly states: readonly Float32Array[];
  /** [steps], of each state but the last. */
  readonly predictions: readonly Prediction[];
  readonly steps: readonly SolverStep[];
  readonly solver: Solver;
}

/** A fixed-point method for a trajectory. */
export interface FixedPointMethod {
  /** First states from the prediction at the noise, [steps + 1]; without it all states start as the noise. */
  readonly guess?: (
    first: Prediction,
    x: Float32Array,
    steps: readonly SolverStep[],
    solver: Solver,
  ) => readonly Float32Array[];
  /**
   * New states of a window, [steps + 1], the first unchanged. Where a state does not change, the next one is the solver's own
   * step from it, `===`.
   */
  readonly update: (window: Window) => readonly Float32Array[];
}

/**
 * A sampler that updates all states of a window of the trajectory at once, pass by pass. The first state of the window is final,
 * so each pass makes at least one more state final. Without `windowTolerance` final states are the serial sampler's, `===`, and
 * the sample is exact after N passes at the latest.
 * @throws SrdsError INVALID_OPTION for an option out of range, or a solver with more than one evaluation a step
 */
export function fixedPoint(options: FixedPointOptions, method: FixedPointMethod): Sampler {
  return new FixedPoint(options, method);
}

class FixedPoint implements Sampler {
  readonly hasBarriers = true;
  sample: Float32Array;
  private readonly steps: readonly SolverStep[];
  private readonly solver: Solver;
  private readonly size: number;
  private readonly windowTolerance: number;
  private readonly maxIterations: number;
  private readonly tasks = new Tasks();
  private states: readonly Float32Array[];
  /** The last prediction at the start of each step, and its state. */
  private readonly predictions: { readonly state: Float32Array; readonly prediction: Prediction }[] = [];
  /** Index of the first state that may still change. */
  private front = 0;
  /** Whether the window moved past states that are not exact. */
  private approximate = false;
  private iteration = -1;
  private depth = 0;

  constructor(
    { x, steps, solver, window, windowTolerance, maxIterations }: FixedPointOptions,
    private readonly method: FixedPointMethod,
  ) {
    const last = steps.length;
    this.steps = steps;
    this.solver = oneEvaluationSolver(solver);
    this.size = Math.min(last, wholeNumber('a window of states', window ?? last, 1));
    this.windowTolerance = nonNegative('a tolerance of the window', windowTolerance ?? 0);
    this.maxIterations = wholeNumber('a number of iterations', maxIterations ?? last, 1);
    this.sample = x;
    this.states = [x, ...steps.map((step) => this.keep(x, step))];
    const { guess } = method;
    if (guess) {
      this.evaluate([0], () => {
        this.states = guess(this.predictions[0].prediction, x, steps, this.solver);
        this.front = 1;
        this.report(this.states[last], this.size === last);
      });
    } else this.pass();
  }

  ready(): readonly Task[] {
    return this.tasks.take();
  }

  finish(task: Task, prediction: Prediction): void {
    this.tasks.finish(task, prediction);
  }

  completed(): readonly Iterate[] {
    return this.tasks.takeIterates();
  }

  private pass(): void {
    const { front } = this;
    const to = Math.min(this.steps.length, front + this.size);
    const window = Array.from({ length: to - front }, (_, k) => front + k);
    this.evaluate(window, () => this.update(to));
  }

  /** Evaluates states that have changed since their last evaluation. */
  private evaluate(indices: readonly number[], next: () => void): void {
    const changed = indices.filter((i) => this.predictions.at(i)?.state !== this.states[i]);
    const { depth } = this;
    this.depth++;
    if (changed.length === 0) return next();
    let pending = changed.length;
    for (const i of changed) {
      const id = { iteration: this.iteration + 1, block: i, step: 0, stage: 0 };
      const state = this.states[i];
      const task = { id, x: state, level: this.steps[i].from, depth, speculative: i > this.front };
      this.tasks.add(task, (prediction) => {
        this.predictions[i] = { state, prediction };
        if (--pending === 0) next();
      });
    }
  }

  /** Ends a pass over the states up to `to`. */
  private update(to: number): void {
    const { front, states, steps, solver } = this;
    const last = steps.length;
    const predictions = this.predictions.slice(front, to).map(({ prediction }) => prediction);
    const window = { front, states: states.slice(front, to + 1), predictions, steps: steps.slice(front, to), solver };
    const moved = this.method
      .update(window)
      .map((state, k) => (k === 0 ? state : this.keep(state, window.steps[k - 1])))
      .map((state, k) => (identical(state, window.states[k]) ? window.states[k] : state));
    const hasSettled = (i: number) =>
      this.windowTolerance > 0 &&
      i < last &&
      meanSquaredDifference(moved[i - front], states[i]) <= (this.windowTolerance * posteriorSpread(steps[i])) ** 2;
    let exact = front + 1;
    while (exact < to && moved[exact - front] === states[exact]) exact++;
    let next = exact;
    while (next < to && hasSettled(next)) next++;
    this.approximate ||= next > exact;
    this.front = next;
    const after = [...states.slice(0, front), ...moved, ...states.slice(to + 1)];
    this.states = after;
    const change = Math.max(...moved.map((state, k) => rmsDifference(state, window.states[k])));
    const x = to === last ? after[last] : this.propagate(after, to, predictions[predictions.length - 1].x0);
    this.report(x, to === last, Math.max(change, rmsDifference(x, this.sample)));
  }

  /** Puts back what a mask keeps of a state at the end of a step, which sums of increments do not. */
  private keep(state: Float32Array, { to }: SolverStep): Float32Array {
    return this.solver.mask?.keep(state, to) ?? state;
  }

  /** Starts the states that enter the window from the last predicted sample. @returns the sample that it leads to */
  private propagate(after: Float32Array[], to: number, x0: Float32Array): Float32Array {
    const { steps, solver } = this;
    const entering = Math.min(steps.length, this.front + this.size);
    for (let i = to; i < entering; i++) after[i + 1] = stepWithX0(solver, after[i], x0, steps[i]);
    const rest = steps.slice(entering);
    return rest.length > 0 ? stepWithX0(solver, after[entering], x0, span(rest)) : after[entering];
  }

  /**
   * Reports the sample after a pass.
   * @param reachesEnd whether the pass updated all states up to the sample
   * @param change root mean square of the largest change of a state: where one in the middle still moves, the sample will
   */
  private report(x: Float32Array, reachesEnd: boolean, change?: number): void {
    const last = this.steps.length;
    this.iteration++;
    this.sample = x;
    const { iteration, states, depth, front } = this;
    const reached = this.approximate ? 'converged' : 'exact';
    const final = front === last ? reached : iteration === this.maxIterations ? 'maxIterations' : undefined;
    const predictedChange = iteration > 0 ? change : undefined;
    this.tasks.report({ iteration, states, x, depth, predictedChange, reachesEnd, final });
    if (!final) this.pass();
  }
}

/**
 * The states of a window one after the other: each is the solver's step from the evaluated state, plus a multiple of the change
 * of that state since then,
 *
 *     x'[i+1] = S_i(x[i]) + c_i (x'[i] - x[i])
 */
export function propagateChanges(
  { states, predictions, steps, solver }: Window,
  factorOf: (step: SolverStep, solver: Solver) => number,
): Float32Array[] {
  const moved = [states[0]];
  for (const [i, step] of steps.entries()) {
    const end = stepWith(solver, states[i], predictions[i], step);
    moved.push(moved[i] === states[i] ? end : added(end, factorOf(step, solver), moved[i], states[i]));
  }
  return moved;
}

/** end + c (a - b) */
function added(end: Float32Array, c: number, a: Float32Array, b: Float32Array): Float32Array {
  const sum = new Float32Array(end.length);
  for (let k = 0; k < sum.length; k++) sum[k] = end[k] + c * (a[k] - b[k]);
  return sum;
}

/** One step of a solver with one evaluation a step. */
export function stepWith(solver: Solver, x: Float32Array, prediction: Prediction, step: SolverStep): Float32Array {
  const end = solver.step(x, prediction, step);
  if (end instanceof Float32Array) return end;
  throw new Error(`${solver.name} declares one evaluation a step and takes more`);
}

/** A step from `x` with a given predicted sample; the predicted noise is the rest of `x`. */
export function stepWithX0(solver: Solver, x: Float32Array, x0: Float32Array, step: SolverStep): Float32Array {
  return stepWith(solver, x, toPrediction('sample', x, x0, step.from.alphaBar), step);
}
