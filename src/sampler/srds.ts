import { setMaxListeners } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import type { Denoiser } from '../run/denoiser.js';
import { nonNegative, wholeNumber } from '../errors.js';
import { iterationsToExact } from '../run/criticalPath.js';
import { boundaries, checkPartition, defaultPartition, type Partition } from './partition.js';
import type { SolverStep } from '../schedule/grid.js';
import { span } from '../schedule/span.js';
import { singleStep } from '../solver/registry.js';
import type { AnySolver } from '../solver/solver.js';
import { meanAbsoluteDifference } from '../tensor/operations.js';
import { Block } from './block.js';
import type { Correction } from './corrections.js';
import { Evaluator, whenAborted } from './evaluator.js';
import type { Residual, SampleResult, SamplerEvent, Status } from '../run/events.js';
import { Recurrence, type Iteration, type Known } from './recurrence.js';
import { Run } from '../run/run.js';

/** What `srds` needs to draw a sample. Samples are flat arrays; their shape is the denoiser's affair. */
export interface SrdsOptions {
  /** the initial noise, flat */
  readonly x: Float32Array;
  /** the fine grid, from noise to image */
  readonly steps: readonly SolverStep[];
  readonly denoiser: Denoiser;
  /** One that starts itself. */
  readonly solver: AnySolver;
  /** Fine steps of each block; default: about 1.6 sqrt(N) blocks, shorter ones first. */
  readonly partition?: Partition;
  /** Default `secant`. */
  readonly correction?: Correction;
  /** Whether an iteration starts before the last has ended (default), or the paper's vanilla form with barriers. */
  readonly pipelined?: boolean;
  /** Stop when the residual is below; default 0, run until exact. */
  readonly tolerance?: number;
  /** Stop after so many refinements; default: as many as blocks, when the sample is exact. */
  readonly maxIterations?: number | undefined;
  /** How far the sample has moved in an iteration; default: mean absolute difference. */
  readonly residual?: Residual;
  readonly signal?: AbortSignal;
}

/**
 * Self-Refining Diffusion Sampler: Parareal over the sampling trajectory (arXiv 2412.08292), with F_i the fine solves of
 * block i and G_i one solver step over all of it:
 *
 *     x[0][i+1] = G_i(x[0][i])                                                      coarse sweep
 *     x[p][i+1] = F_i(x[p-1][i]) + ( G_i(x[p][i]) - G_i(x[p-1][i]) )                refinement p
 *
 * Each x[p][i] is a promise and starts when its inputs are there, so iterations overlap by themselves; what is still under
 * way when the sample has converged is dropped. After p iterations the first p boundaries are `===` the serial trajectory.
 * @throws SrdsError INVALID_OPTION if the partition, tolerance or iterations make no sense or the solver has a history; an error of the denoiser fails
 * the run
 */
export function srds(options: SrdsOptions): Run<SamplerEvent, SampleResult> {
  const { steps, correction = 'secant', pipelined = true, tolerance = 0 } = options;
  const { residual = meanAbsoluteDifference } = options;
  const partition = checkPartition(options.partition ?? defaultPartition(steps.length), steps.length);
  // An infinite one is of use here: it stops after the first iteration.
  if (tolerance !== Infinity) nonNegative('a tolerance', tolerance);
  if (options.maxIterations !== undefined) wholeNumber('a number of iterations', options.maxIterations, 1);
  const solver = singleStep(options.solver);
  const last = partition.length;
  const toExact = iterationsToExact(partition);
  const maxIterations = Math.min(options.maxIterations ?? toExact, toExact);

  return new Run<SamplerEvent, SampleResult>(async (emit, aborted) => {
    const stop = new AbortController();
    const signal = AbortSignal.any([aborted, stop.signal]);
    setMaxListeners(0, signal);
    const abort = whenAborted(aborted);
    const evaluator = new Evaluator(options.denoiser, signal, emit);
    const edges = boundaries(partition);
    const blocks = partition.map((_, i) => {
      const fine = steps.slice(edges[i], edges[i + 1]);
      const certain = partition.slice(0, i).filter((length) => length > 1).length;
      return new Block(i, { fine, coarse: span(fine), certain }, solver, evaluator);
    });

    const recurrence = new Recurrence(blocks, correction, options.x);
    const rows: Iteration[] = [recurrence.coarseSweep()];
    // The fine solves from one exact state to the next need no iteration: under load they alone get on.
    const serial = pipelined ? recurrence.serial(maxIterations === toExact ? last : maxIterations) : undefined;
    const exact = serial?.length === last + 1 ? Promise.all(serial) : undefined;
    let exactStates: readonly Known[] | undefined;
    exact?.then(
      (states) => (exactStates = states),
      () => undefined,
    );
    const extend = (gate: number): void => {
      const p = rows.length;
      rows.push(recurrence.refine(p, rows[p - 1], rows[p - 2], { serial, gate }));
      if (!pipelined || p === maxIterations) return;
      // The next iteration can begin when this one has found its first new state, x[p][p].
      rows[p][p].then(
        () => signal.aborted || extend(0),
        () => undefined,
      );
    };
    if (pipelined) extend(0);

    const residuals: number[] = [];
    let iterate: readonly Known[] = [await rows[0][0]];
    let iterations = 0;
    const depthOf = (row: readonly Known[]) => Math.max(...row.map(({ depth }) => depth));
    const report = (): void => {
      const x = iterate[last].boundary.x;
      const evaluations = evaluator.count(depthOf(iterate));
      const states = iterate.map(({ boundary }) => boundary.x);
      emit({
        type: 'iteration',
        iteration: iterations,
        x,
        boundaries: states,
        residual: residuals.at(-1),
        evaluations,
      });
    };
    const end = async (status: Status): Promise<SampleResult> => {
      stop.abort();
      const { x } = iterate[iterate.length - 1].boundary;
      return { status, x, iterations, residuals, evaluations: await evaluator.finalCount(depthOf(iterate)) };
    };

    /** An iteration, or all exact states if they are there first, which is so where speculation waits for others. */
    const complete = (row: Iteration): Promise<readonly Known[]> => {
      const ways = [Promise.all(row), abort];
      return Promise.race(exact ? [...ways, exact.then(setImmediate<readonly Known[]>)] : ways);
    };

    try {
      iterate = await complete(rows[0]);
      report();
      if (iterate === exactStates) return await end('exact');
      for (;;) {
        if (iterations === maxIterations) return await end('maxIterations');
        const before = iterate;
        if (!pipelined) extend(depthOf(before));
        const row = await complete(rows[iterations + 1]);
        const unchanged = row.every(({ boundary }, i) => boundary === before[i].boundary);
        const done = iterations + 1 === toExact || unchanged || row === exactStates;
        const change = residual(row[last].boundary.x, before[last].boundary.x, iterations + 1);
        residuals.push(await Promise.race([change, abort]));
        iterations++;
        iterate = row;
        // States that no later iteration refers to need not be kept.
        if (iterations >= 2) rows[iterations - 2] = [];
        report();
        if (done) return await end('exact');
        if (residuals[iterations - 1] < tolerance) return await end('converged');
      }
    } catch (error) {
      if (aborted.aborted) return await end('aborted');
      stop.abort();
      throw error;
    }
  }, options.signal);
}
