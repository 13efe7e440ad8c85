import type { SolverStep } from '../schedule/grid.js';
import type { Prediction } from '../solver/prediction.js';
import { isMultistep, stepGenerator, type AnySolver, type Past } from '../solver/solver.js';
import type { Iterate, Sampler, Task } from './sampler.js';
import { Tasks } from './tasks.js';

/** What every sampler starts from. */
export interface SerialOptions {
  /** Initial noise, [size]. */
  readonly x: Float32Array;
  /** The fine grid, from noise to image. */
  readonly steps: readonly SolverStep[];
  readonly solver: AnySolver;
}

/**
 * The ordinary sampler: one step after the other. It is the reference for all others.
 * @example
 * const { x: sample } = await drive(serial({ x, steps, solver: ddim }), { denoiser }).result;
 */
export function serial(options: SerialOptions): Sampler {
  return new Serial(options);
}

class Serial implements Sampler {
  readonly hasBarriers = false;
  sample: Float32Array;
  private readonly tasks = new Tasks();
  private past: Past[] = [];

  constructor(private readonly options: SerialOptions) {
    this.sample = options.x;
    this.evaluate(0, 0);
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

  /** Evaluates at the start of a step, then takes it. */
  private evaluate(index: number, depth: number): void {
    const { steps } = this.options;
    const x = this.sample;
    if (index === steps.length) {
      this.tasks.report({ iteration: 0, states: [], x, depth, reachesEnd: true, final: 'exact' });
      return;
    }
    const id = { iteration: 0, block: 0, step: index, stage: 0 };
    this.tasks.add({ id, x, level: steps[index].from, depth, speculative: false }, (prediction) =>
      this.step(index, prediction, depth + 1),
    );
  }

  private step(index: number, prediction: Prediction, depth: number): void {
    const { steps, solver } = this.options;
    const step = steps[index];
    const next = (end: Float32Array, depthAtEnd: number): void => {
      this.sample = end;
      this.evaluate(index + 1, depthAtEnd);
    };
    if (isMultistep(solver)) {
      const now = { x: this.sample, prediction, step, index };
      const end = solver.multistep(now, this.past);
      this.past = [now, ...this.past].slice(0, solver.history);
      return next(end, depth);
    }
    const id = { iteration: 0, block: 0, step: index, stage: 0 };
    this.tasks.step(stepGenerator(solver, this.sample, prediction, step), { id, depth, speculative: false }, next);
  }
}
