import { nonNegative, wholeNumber } from '../errors.js';
import type { Prediction } from '../solver/prediction.js';
import { oneStepSolver } from '../solver/solver.js';
import { blocksOf, type Block } from './block.js';
import { BlockSolves } from './blockSolves.js';
import { Completion } from './completion.js';
import { correct, type Correction } from './corrections.js';
import { LookAhead } from './lookAhead.js';
import { checkPartition, defaultPartition, iterationsToExact, type Partition } from './partition.js';
import type { Iterate, Sampler, Task } from './sampler.js';
import type { SerialOptions } from './serial.js';
import { Tasks } from './tasks.js';
import { Trajectories, type BoundaryState } from './trajectories.js';

/** Options of SRDS. The solver must be a one-step method. */
export interface SrdsOptions extends SerialOptions {
  /** Fine steps of each block; default: `defaultPartition`. */
  readonly partition?: Partition | undefined;
  /** Default `secant`. */
  readonly correction?: Correction | undefined;
  /** Whether iterations overlap (default), or each waits for the one before, as in the paper's vanilla form. */
  readonly pipelined?: boolean | undefined;
  /** Last iteration; default: as many as make the sample exact. */
  readonly maxIterations?: number | undefined;
  /**
   * Root mean square up to which a change may be the denoiser's rounding, 0.01 for float16. Predictions take smaller changes without
   * what looks like rounding (`changeBeyondRounding`), so that a run does not wait for changes that never end. Default 0: all count.
   */
  readonly roundingLimit?: number | undefined;
}

/**
 * Self-Refining Diffusion Sampler: Parareal over the sampling trajectory, with F_i the fine solves of block i and G_i one solver
 * step over all of it:
 *
 *     x[0][i+1] = G_i(x[0][i])                                                      coarse sweep
 *     x[p][i+1] = F_i(x[p-1][i]) + ( G_i(x[p][i]) - G_i(x[p-1][i]) )                iteration p
 *
 * An evaluation starts as soon as its input is known, so iterations overlap. After p iterations the first p boundaries are `===`
 * the serial trajectory. Source: SRDS (arXiv 2412.08292), algorithm 1.
 * @throws SrdsError INVALID_OPTION for a partition or a number of iterations out of range, or a multistep solver
 * @example
 * const { result } = drive(srds({ x, steps, solver: ddim }), { denoiser, tolerance: 1e-3 });
 */
export function srds(options: SrdsOptions): Sampler {
  return new Srds(options);
}

class Srds implements Sampler {
  readonly hasBarriers: boolean;
  sample: Float32Array;
  private readonly tasks = new Tasks();
  private readonly blocks: readonly Block[];
  private readonly solves: BlockSolves;
  private readonly correction: Correction;
  /** Iterations after which the sample is exact, and the last one to compute. */
  private readonly toExact: number;
  private readonly last: number;
  private readonly trajectories: Trajectories;
  private readonly completion: Completion;
  /** Next iteration to complete. */
  private next = 0;
  private ended = false;

  constructor(options: SrdsOptions) {
    const { x, steps, correction = 'secant', pipelined = true, maxIterations, roundingLimit = 0 } = options;
    const partition = checkPartition(options.partition ?? defaultPartition(steps.length), steps.length);
    if (maxIterations !== undefined) wholeNumber('a number of iterations', maxIterations, 1);
    this.hasBarriers = !pipelined;
    this.sample = x;
    this.blocks = blocksOf(steps, partition);
    this.solves = new BlockSolves(this.blocks, oneStepSolver(options.solver), this.tasks);
    this.correction = correction;
    this.toExact = iterationsToExact(partition);
    this.last = Math.min(maxIterations ?? this.toExact, this.toExact);
    this.trajectories = new Trajectories(x, this.blocks, this.solves);
    const lookAhead = new LookAhead(this.blocks, this.trajectories, nonNegative('a limit of rounding', roundingLimit));
    this.completion = new Completion(this.trajectories, lookAhead, this.toExact, this.last, this.hasBarriers);
    if (pipelined) this.solves.solveFine(0, this.trajectories.exact[0].state);
    this.advance();
  }

  ready(): readonly Task[] {
    return this.ended ? [] : this.tasks.take();
  }

  finish(task: Task, prediction: Prediction): void {
    if (this.ended) return;
    this.tasks.finish(task, prediction);
    this.advance();
  }

  completed(): readonly Iterate[] {
    return this.tasks.takeIterates();
  }

  /** The recurrence: x[p][i+1], once all that it depends on is known. */
  private recurrence(p: number, i: number): BoundaryState | undefined {
    const { rows, exact } = this.trajectories;
    // The first p boundaries of iteration p are exact.
    if (i < p) return exact.at(i + 1);
    const now = rows[p][i].state;
    if (p === 0) return now.g && this.trajectories.find(p, i + 1, now.g);

    const unchanged = rows[p - 1].at(i + 1);
    if (!unchanged) return undefined;
    const before = rows[p - 1][i].state;
    const older = p > 1 ? rows[p - 2][i].state : undefined;
    const { isOneStep } = this.blocks[i];
    if (now === before && (isOneStep || before === older)) return unchanged;
    if (isOneStep) return now.g && this.trajectories.find(p, i + 1, now.g);
    if (now === before) return before.f && this.trajectories.find(p, i + 1, before.f);
    if (!before.f || !before.g || !now.g) return undefined;
    const x = correct(this.correction, {
      now: { x: now.x, g: now.g.x },
      before: { x: before.x, f: before.f.x, g: before.g.x },
      older: older?.f && older.g && { x: older.x, f: older.f.x, g: older.g.x },
    });
    return this.trajectories.find(p, i + 1, { x, depth: Math.max(before.f.depth, now.g.depth) });
  }

  /** Finds all states whose inputs are known. */
  private advance(): void {
    const end = this.last === this.toExact ? this.blocks.length : this.last;
    do {
      this.trajectories.extendExact(this.hasBarriers ? Math.min(this.next, end) : end, !this.hasBarriers);
      for (let p = this.next; p < this.trajectories.rows.length; p++) this.extend(p);
    } while (this.complete());
  }

  /** Extends iteration p, as far as the recurrence goes. */
  private extend(p: number): void {
    const { rows } = this.trajectories;
    const row = rows[p];
    while (row.length <= this.blocks.length) {
      const end = this.recurrence(p, row.length - 1);
      if (!end) break;
      row.push(end);
      if (!this.hasBarriers && p < this.last) this.solves.solveFine(row.length - 1, end.state);
    }
    // The next iteration has something to do once this one has found its first new state.
    const opensNext = !this.hasBarriers && p === rows.length - 1 && p < this.last && row.length > p;
    if (opensNext) this.trajectories.open();
  }

  /** Reports the next iterate, if it is complete. @returns whether it was */
  private complete(): boolean {
    const p = this.next;
    const iterate = this.ended ? undefined : this.completion.iterate(p);
    if (!iterate) return false;
    const { trajectories } = this;
    this.tasks.report(iterate);
    this.sample = iterate.x;
    this.ended = iterate.final !== undefined;
    this.next++;
    trajectories.forget(p - 2);
    if (this.hasBarriers && !this.ended) {
      trajectories.open();
      trajectories.rows[p].forEach(({ state }, i) => this.solves.solveFine(i, state, iterate.depth));
    }
    return true;
  }
}
