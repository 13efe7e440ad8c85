import { nonNegative } from '../errors.js';
import type { Iterate, Sampler, Task } from '../sampler/sampler.js';
import type { Denoiser } from './denoiser.js';
import type { SampleResult, SamplerEvent, Status } from './events.js';
import { allowManyListeners, nextTurn } from './platform.js';
import { nextChange, type Residual } from './residual.js';
import { Run } from './run.js';

/** How to run a sampler. */
export interface DriveOptions {
  readonly denoiser: Denoiser;
  /** Stop when an iteration's residual is below; default 0, run until the sampler ends. */
  readonly tolerance?: number | undefined;
  /** How far a run is from convergence after an iteration; default: `nextChange`. */
  readonly residual?: Residual | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs a sampler against a denoiser: evaluates all that is ready at once, and stops when the sampler ends or the residual of an
 * iteration is below the tolerance. Pipelined samplers go on while the residual of an iteration is computed; evaluations
 * that are no longer needed are dropped through the signal of their request.
 *
 * An error of the denoiser or the residual fails the run.
 * @throws SrdsError INVALID_OPTION for a tolerance below 0
 * @example
 * const run = drive(srds({ x, steps, solver: ddim }), { denoiser, tolerance: 1e-3 });
 * for await (const event of run) if (event.type === 'iteration') console.log(event.iteration, event.residual);
 * const { status, x: sample, evaluations } = await run.result;
 */
export function drive(sampler: Sampler, options: DriveOptions): Run<SamplerEvent, SampleResult> {
  const { tolerance = 0 } = options;
  // With Infinity a run stops after its first iteration.
  if (tolerance !== Infinity) nonNegative('a tolerance', tolerance);
  return new Run((emit, aborted) => new Drive(sampler, options, emit).run(aborted), options.signal);
}

class Drive {
  private readonly stop = new AbortController();
  private readonly iterates: Iterate[] = [];
  private readonly residuals: number[] = [];
  private last: Iterate | undefined;
  private deciding = false;
  private begun = 0;
  private finished = 0;
  private critical = 0;
  private end: (status: Status) => void = () => undefined;
  private fail: (reason: unknown) => void = () => undefined;

  constructor(
    private readonly sampler: Sampler,
    private readonly options: DriveOptions,
    private readonly emit: (event: SamplerEvent) => void,
  ) {
    allowManyListeners(this.stop.signal);
  }

  async run(aborted: AbortSignal): Promise<SampleResult> {
    const ended = new Promise<Status>((resolve, reject) => {
      this.end = resolve;
      this.fail = reject;
    });
    const abort = () => this.end('aborted');
    aborted.addEventListener('abort', abort, { once: true });
    try {
      if (aborted.aborted) abort();
      else this.advance();
      const status = await ended;
      this.stop.abort();
      // Dropped evaluations reject now, and do not count.
      await nextTurn();
      const { last, residuals } = this;
      const evaluations = { critical: last?.depth ?? this.critical, total: this.begun };
      return { status, x: last?.x ?? this.sampler.sample, iterations: last?.iteration ?? 0, residuals, evaluations };
    } finally {
      aborted.removeEventListener('abort', abort);
      this.stop.abort();
    }
  }

  /** Starts what is ready and decides on what is complete. */
  private advance(): void {
    if (this.stop.signal.aborted) return;
    this.iterates.push(...this.sampler.completed());
    const [iterate] = this.iterates;
    const waits = this.sampler.hasBarriers && this.iterates.length > 0;
    if (!waits) for (const task of this.sampler.ready()) void this.evaluate(task);
    if (this.deciding || this.iterates.length === 0) return;
    this.deciding = true;
    this.decide(iterate)
      .then(() => {
        this.iterates.shift();
        this.deciding = false;
        this.advance();
      })
      .catch(this.fail);
  }

  private async evaluate(task: Task): Promise<void> {
    const { id, x, level, speculative, depth } = task;
    const { signal } = this.stop;
    this.begun++;
    try {
      const priority = [id.iteration, id.block, id.step, id.stage];
      const prediction = await this.options.denoiser({ x, level, priority, speculative, signal });
      this.finished++;
      if (signal.aborted) return;
      this.critical = Math.max(this.critical, depth + 1);
      this.emit({ type: 'evaluation', ...id, evaluations: { critical: this.critical, total: this.finished } });
      this.sampler.finish(task, prediction);
      this.advance();
    } catch (error) {
      this.begun--;
      this.fail(error);
    }
  }

  /** Reports an iterate and ends the run if it is the last. */
  private async decide(iterate: Iterate): Promise<void> {
    const { iteration, x, states, depth, final, reachesEnd } = iterate;
    const { residual = nextChange, tolerance = 0 } = this.options;
    const change = this.last && (await residual(iterate, this.last));
    if (this.stop.signal.aborted) return;
    if (change !== undefined) this.residuals.push(change);
    this.last = iterate;
    if (states.length > 0) {
      const evaluations = { critical: depth, total: this.finished };
      this.emit({ type: 'iteration', iteration, x, boundaries: states, residual: change, reachesEnd, evaluations });
    }
    const converged = change !== undefined && reachesEnd && change < tolerance;
    if (converged && final !== 'exact') this.end('converged');
    else if (final) this.end(final);
  }
}
