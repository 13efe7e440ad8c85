import { setMaxListeners } from 'node:events';
import { toPrediction, type Combination, type Prediction } from '../solver/prediction.js';
import { nonNegative, wholeNumber } from '../errors.js';
import type { SolverStep } from '../schedule/grid.js';
import { span } from '../schedule/span.js';
import { oneEvaluation } from '../solver/registry.js';
import { posteriorSpread } from '../solver/ddpm.js';
import { combinationsOf, type Solver } from '../solver/solver.js';
import { identical, meanAbsoluteDifference, meanSquaredDifference } from '../tensor/operations.js';
import { Evaluator, whenAborted, type Evaluated } from './evaluator.js';
import type { Residual, SampleResult, SamplerEvent, Status } from '../run/events.js';
import { Run } from '../run/run.js';
import type { SerialOptions } from './serial.js';

/** The predicted sample alone. */
const SAMPLE: Combination = [1, 0];

/** Options that samplers of this kind share. */
export interface FixedPointOptions extends SerialOptions {
  /** States that are worked on at a time, so as to fit a device's batch; default: all. */
  readonly window?: number | undefined;
  /**
   * How far the window moves: past the states whose mean squared change in a pass is at most slide^2 times the variance of
   * DDPM's noise there. 0: past those that are exact. Source: Shih et al. 2023, algorithm 1.
   */
  readonly slide?: number | undefined;
  /** Stop when the residual of a pass is below; default 0, run until exact. */
  readonly tolerance?: number | undefined;
  /** Stop after so many passes; default: as many as steps, when the sample is exact. */
  readonly maxIterations?: number | undefined;
  /** How far the sample has moved in a pass; default: mean absolute difference. */
  readonly residual?: Residual | undefined;
}

/** A stretch of the trajectory as it was evaluated in a pass. */
export interface Window {
  /** Number of its first state, from 0. */
  readonly front: number;
  /** [steps + 1], the first of them final */
  readonly states: readonly Float32Array[];
  /** [steps], what the network says of each state but the last: no more than the step takes, where that is one sum */
  readonly predictions: readonly Prediction[];
  readonly steps: readonly SolverStep[];
  readonly solver: Solver;
}

/** A way to solve for a trajectory as a fixed point. */
export interface FixedPointMethod {
  /** The states after a first evaluation of the noise alone, the step's sum and x0; without it all begin as that noise. */
  readonly guess?: (
    first: Prediction,
    x: Float32Array,
    steps: readonly SolverStep[],
    solver: Solver,
  ) => Promise<Float32Array[]>;
  /**
   * New states for a window, [steps + 1], the first unchanged. Where a state comes out as it was, the next is the solver's own
   * step from it, `===`.
   */
  readonly update: (window: Window) => Promise<readonly Float32Array[]>;
}

/**
 * Draws a sample by passes over a window of the trajectory: all its states are evaluated at once, then moved. The first of
 * them is final, so each pass makes at least one more so; without `slide` they are the serial sampler's, `===`, and after N
 * passes at the latest the sample is.
 * @throws SrdsError INVALID_OPTION if the solver takes more than one evaluation a step or an option makes no sense
 */
export function fixedPoint(
  options: FixedPointOptions,
  { guess, update }: FixedPointMethod,
): Run<SamplerEvent, SampleResult> {
  const { x, steps, residual = meanAbsoluteDifference } = options;
  const last = steps.length;
  const solver = oneEvaluation(options.solver);
  const size = Math.min(last, wholeNumber('a window of states', options.window ?? last, 1));
  const slide = nonNegative("a tolerance of the window's states", options.slide ?? 0);
  const tolerance = options.tolerance === Infinity ? Infinity : nonNegative('a tolerance', options.tolerance ?? 0);
  const maxIterations = wholeNumber('a number of iterations', options.maxIterations ?? last, 1);

  return new Run<SamplerEvent, SampleResult>(async (emit, aborted) => {
    const stop = new AbortController();
    const signal = AbortSignal.any([aborted, stop.signal]);
    setMaxListeners(0, signal);
    const abort = whenAborted(aborted);
    const evaluator = new Evaluator(options.denoiser, signal, emit);
    /** The last evaluation of each step, and of which state. */
    const evaluated: { readonly state: Float32Array; readonly evaluation: Promise<Evaluated> }[] = [];

    let states: readonly Float32Array[] = Array.from({ length: last + 1 }, () => x);
    let front = 0;
    let slid = false as boolean;
    let depth = 0;
    let sample = x;
    const residuals: number[] = [];
    let iterations = -1;

    /** A state that did not change is not evaluated again. @param whole whether the predicted sample is wanted too */
    const predict = async (i: number, whole: boolean): Promise<Prediction> => {
      const state = states[i];
      const place = { iteration: iterations + 1, block: i, step: 0, speculative: i > front };
      const before = evaluated.at(i);
      const known = before?.state === state ? before.evaluation : undefined;
      const ofStep = combinationsOf(solver, [steps[i]]);
      const only = whole ? ofStep && [...ofStep, SAMPLE] : ofStep;
      const evaluation = known ?? evaluator.evaluate({ x: state, depth }, steps[i].from, place, only);
      evaluation.catch(() => undefined);
      evaluated[i] = { state, evaluation };
      return (await evaluation).prediction;
    };
    const report = async (now: Float32Array): Promise<void> => {
      iterations++;
      if (iterations > 0) residuals.push(await Promise.race([residual(now, sample, iterations), abort]));
      sample = now;
      const evaluations = evaluator.count(depth);
      emit({
        type: 'iteration',
        iteration: iterations,
        x: sample,
        boundaries: states,
        residual: residuals.at(-1),
        evaluations,
      });
    };
    const end = async (status: Status): Promise<SampleResult> => {
      stop.abort();
      const evaluations = await evaluator.finalCount(depth);
      return { status, x: sample, iterations: Math.max(0, iterations), residuals, evaluations };
    };

    const pass = async (): Promise<void> => {
      const to = Math.min(last, front + size);
      const predictions = await Promise.all(
        Array.from({ length: to - front }, (_, k) => predict(front + k, front + k === to - 1 && to < last)),
      );
      depth++;
      const window = { front, states: states.slice(front, to + 1), predictions, steps: steps.slice(front, to), solver };
      const moved = (await update(window)).map((state, k) =>
        identical(state, window.states[k]) ? window.states[k] : state,
      );
      const settled = (i: number) =>
        slide > 0 &&
        i < last &&
        meanSquaredDifference(moved[i - front], states[i]) <= (slide * posteriorSpread(steps[i])) ** 2;
      let exact = front + 1;
      while (exact < to && moved[exact - front] === states[exact]) exact++;
      let next = exact;
      while (next < to && settled(next)) next++;
      slid ||= next > exact;
      const after = [...states.slice(0, front), ...moved, ...states.slice(to + 1)];
      states = after;
      front = next;
      await report(to === last ? states[last] : await follow(after, to, predictions[predictions.length - 1].x0));
    };

    /** Begins the states that enter the window where the last prediction leads. @returns the sample that it leads to */
    const follow = async (after: Float32Array[], to: number, x0: Float32Array): Promise<Float32Array> => {
      const entering = Math.min(last, front + size);
      for (let i = to; i < entering; i++) after[i + 1] = await holding(solver, after[i], x0, steps[i]);
      const rest = steps.slice(entering);
      return rest.length > 0 ? holding(solver, after[entering], x0, span(rest)) : after[last];
    };

    try {
      if (guess) {
        states = await Promise.race([predict(0, true).then((first) => guess(first, x, steps, solver)), abort]);
        [front, depth] = [1, 1];
        await report(states[last]);
      }
      for (;;) {
        if (front === last) return await end(slid ? 'converged' : 'exact');
        if (iterations >= 1 && front + size >= last && residuals[iterations - 1] < tolerance)
          return await end('converged');
        if (iterations === maxIterations) return await end('maxIterations');
        await Promise.race([pass(), abort]);
      }
    } catch (error) {
      if (aborted.aborted) return await end('aborted');
      stop.abort();
      throw error;
    }
  }, options.signal);
}

/**
 * The states of a window one after the other: each is the solver's step from the state before as it was evaluated, and what
 * has become of that since is carried over with a factor of the step,
 *
 *     x'[i+1] = S_i(x[i]) + c_i (x'[i] - x[i])
 */
export async function carryOver(
  { states, predictions, steps, solver }: Window,
  factorOf: (step: SolverStep, solver: Solver) => Promise<number>,
): Promise<Float32Array[]> {
  const moved = [states[0]];
  for (const [i, step] of steps.entries()) {
    const end = await stepWith(solver, states[i], predictions[i], step);
    moved.push(moved[i] === states[i] ? end : added(end, await factorOf(step, solver), moved[i], states[i]));
  }
  return moved;
}

/** end + c (a - b) */
function added(end: Float32Array, c: number, a: Float32Array, b: Float32Array): Float32Array {
  const sum = new Float32Array(end.length);
  for (let k = 0; k < sum.length; k++) sum[k] = end[k] + c * (a[k] - b[k]);
  return sum;
}

/** One step with a prediction that is known. */
export async function stepWith(
  solver: Solver,
  x: Float32Array,
  prediction: Prediction,
  step: SolverStep,
): Promise<Float32Array> {
  return solver.step(x, prediction, step, () => Promise.reject(new Error('one evaluation a step')));
}

/** A step from `x` with a predicted sample that was found elsewhere: the noise is what is left of `x`. */
export async function holding(
  solver: Solver,
  x: Float32Array,
  x0: Float32Array,
  step: SolverStep,
): Promise<Float32Array> {
  return stepWith(solver, x, toPrediction('sample', x, x0, step.from.alphaBar), step);
}
