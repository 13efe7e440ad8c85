import type { Denoiser } from '../run/denoiser.js';
import type { SolverStep } from '../schedule/grid.js';
import { combinationsOf, isMultistep, type AnySolver, type Past } from '../solver/solver.js';
import { Evaluator, whenAborted, type State } from './evaluator.js';
import type { SampleResult, SamplerEvent, Status } from '../run/events.js';
import { Run } from '../run/run.js';

/** What `serial` needs to draw a sample. */
export interface SerialOptions {
  /** the initial noise, flat */
  readonly x: Float32Array;
  /** the fine grid, from noise to image */
  readonly steps: readonly SolverStep[];
  readonly denoiser: Denoiser;
  readonly solver: AnySolver;
  readonly signal?: AbortSignal;
}

/** The ordinary sampler: one step after the other. The reference for all others. */
export function serial({ x, steps, denoiser, solver, signal }: SerialOptions): Run<SamplerEvent, SampleResult> {
  return new Run<SamplerEvent, SampleResult>(async (emit, aborted) => {
    const evaluator = new Evaluator(denoiser, aborted, emit);
    const abort = whenAborted(aborted);
    const end = async (status: Status): Promise<SampleResult> => {
      return { status, x: state.x, iterations: 0, residuals: [], evaluations: await evaluator.finalCount() };
    };

    let state: State = { x, depth: 0 };
    let past: Past[] = [];
    const take = async (step: SolverStep, index: number): Promise<State> => {
      const place = { iteration: 0, block: 0, step: index };
      const start = await evaluator.evaluate(state, step.from, place, combinationsOf(solver, [step]));
      if (!isMultistep(solver)) return evaluator.advance(solver, state, start, step, place);
      const now = { x: state.x, prediction: start.prediction, step, index };
      const end = solver.multistep(now, past);
      past = [now, ...past].slice(0, solver.history);
      return { x: end, depth: start.depth };
    };
    for (const [j, step] of steps.entries()) {
      try {
        state = await Promise.race([take(step, j), abort]);
      } catch (error) {
        if (aborted.aborted) return end('aborted');
        throw error;
      }
    }
    return end('exact');
  }, signal);
}
