import type { Prediction } from '../solver/prediction.js';
import type { StepGenerator } from '../solver/solver.js';
import type { Iterate, Task } from './sampler.js';

/** The evaluations that a sampler waits for, each with the code that continues with its prediction, and its iterates. */
export class Tasks {
  private added: Task[] = [];
  private iterates: Iterate[] = [];
  private readonly continuations = new Map<Task, (prediction: Prediction) => void>();

  add(task: Task, next: (prediction: Prediction) => void): void {
    this.added.push(task);
    this.continuations.set(task, next);
  }

  /**
   * Takes a solver step; its further evaluations become tasks.
   * @param first what those tasks have in common, with the depth after the step's first evaluation
   * @param next receives the sample at the step's end and its depth
   */
  step(
    generator: StepGenerator,
    first: Pick<Task, 'id' | 'depth' | 'speculative'>,
    next: (end: Float32Array, depth: number) => void,
  ): void {
    const proceed = ({ done, value }: ReturnType<StepGenerator['next']>, stage: number, depth: number): void => {
      if (done) return next(value, depth);
      const task = { ...first, id: { ...first.id, stage }, x: value.x, level: value.level, depth };
      this.add(task, (prediction) => proceed(generator.next(prediction), stage + 1, depth + 1));
    };
    proceed(generator.next(), 1, first.depth);
  }

  /** The tasks that were added since the last call. */
  take(): readonly Task[] {
    const { added } = this;
    this.added = [];
    return added;
  }

  report(iterate: Iterate): void {
    this.iterates.push(iterate);
  }

  /** The iterates that were reported since the last call. */
  takeIterates(): readonly Iterate[] {
    const { iterates } = this;
    this.iterates = [];
    return iterates;
  }

  /** Continues with the prediction of a task. */
  finish(task: Task, prediction: Prediction): void {
    const next = this.continuations.get(task);
    if (!next) throw new Error(`task ${Object.values(task.id).join('.')} is not pending`);
    this.continuations.delete(task);
    next(prediction);
  }
}
