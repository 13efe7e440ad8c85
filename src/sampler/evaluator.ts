import type { Denoiser } from '../run/denoiser.js';
import type { Combination, Prediction } from '../solver/prediction.js';
import type { NoiseLevel, SolverStep } from '../schedule/grid.js';
import type { Solver } from '../solver/solver.js';
import type { EvaluationCount, SamplerEvent } from '../run/events.js';

/** A sample and the number of evaluations that must come before it, one after the other. */
export interface State {
  readonly x: Float32Array;
  readonly depth: number;
}

/** A prediction and its depth, that of the evaluation included. */
export interface Evaluated {
  readonly prediction: Prediction;
  readonly depth: number;
}

/** Where in a sampler's work an evaluation belongs. */
export interface Place {
  readonly iteration: number;
  readonly block: number;
  readonly step: number;
  /** Which evaluation of the step, for solvers that take more than one; 0 if not given. */
  readonly stage?: number;
  /** Whether the state is not yet the serial sampler's, so that the evaluation may be in vain. */
  readonly speculative?: boolean;
}

/** Calls the denoiser for a sampler and counts. */
export class Evaluator {
  private begun = 0;
  private finished = 0;
  private critical = 0;

  constructor(
    private readonly denoiser: Denoiser,
    private readonly signal: AbortSignal,
    private readonly emit: (event: SamplerEvent) => void,
  ) {}

  /**
   * One evaluation, counted.
   * @param only all that will be asked of the prediction, if that is known
   * @throws what the denoiser does, or the reason of an abort
   */
  async evaluate(
    { x, depth }: State,
    level: NoiseLevel,
    place: Place,
    only?: readonly Combination[],
  ): Promise<Evaluated> {
    this.signal.throwIfAborted();
    this.begun++;
    const { iteration, block, step, stage = 0, speculative = false } = place;
    const priority = [iteration, block, step, stage];
    const prediction = await this.denoiser({ x, level, priority, speculative, only, signal: this.signal }).catch(
      (error: unknown) => {
        this.begun--;
        throw error;
      },
    );
    this.finished++;
    this.critical = Math.max(this.critical, depth + 1);
    this.emit({ type: 'evaluation', iteration, block, step, stage, evaluations: this.count() });
    return { prediction, depth: depth + 1 };
  }

  /** A step of a solver, from the evaluation at its start on; any further ones are counted too. */
  async advance(solver: Solver, { x }: State, start: Evaluated, step: SolverStep, place: Place): Promise<State> {
    let depth = start.depth;
    let stage = 0;
    const end = await solver.step(x, start.prediction, step, async (inside, level) => {
      const more = await this.evaluate({ x: inside, depth }, level, { ...place, stage: ++stage });
      depth = more.depth;
      return more.prediction;
    });
    return { x: end, depth };
  }

  /** @param critical depth of what is reported on; default: the deepest evaluation so far, speculative ones included */
  count(critical = this.critical): EvaluationCount {
    return { critical, total: this.finished };
  }

  /** The count at the end of a run: with those still under way, whose answers come too late, but not those dropped. */
  async finalCount(critical = this.critical): Promise<EvaluationCount> {
    // One turn of the event loop lets the dropped ones say so.
    await new Promise((resolve) => setImmediate(resolve));
    return { critical, total: this.begun };
  }
}

/** Rejects when `signal` is aborted, whether or not what one waits for pays heed to it. */
export function whenAborted(signal: AbortSignal): Promise<never> {
  const aborted = new Promise<never>((_, reject) => {
    const fail = () => reject(signal.reason as Error);
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
  aborted.catch(() => undefined);
  return aborted;
}
