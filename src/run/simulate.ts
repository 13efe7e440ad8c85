import type { Sampler, Task } from '../sampler/sampler.js';
import { srds } from '../sampler/srds.js';
import type { Partition } from '../sampler/partition.js';
import type { NoiseLevel, SolverStep } from '../schedule/grid.js';
import type { Prediction } from '../solver/prediction.js';
import type { Solver } from '../solver/solver.js';
import { byPriority, nextBatch, type PendingEvaluation } from './nextBatch.js';
import { finish, type Steps } from './steps.js';

/** What a batch takes on the host. */
export interface HostCost {
  /** Seconds for a batch of one evaluation; default 0. */
  readonly hostSeconds?: number | undefined;
  /** Seconds for each further evaluation of a batch; default: 0.35 of `hostSeconds`. */
  readonly hostSecondsEach?: number | undefined;
}

/** Devices in virtual time. */
export interface Hardware extends HostCost {
  /** For each device, the seconds of a batch of so many rows. */
  readonly devices: readonly ((rows: number) => number)[];
  /** Rows of an evaluation: two with guidance. */
  readonly rowsPerEvaluation: number;
  /** Whether the rows of an evaluation are separate in batches, so that devices share them; default: they stay together. */
  readonly splitsRows?: boolean | undefined;
  /** Rows of the largest batch. */
  readonly maxRows: number;
  /** Rows up to which a batch is filled before other free devices get a share. */
  readonly minRows: number;
}

/**
 * Share of the host's time for a batch of one evaluation that each further one adds, until runs show it: their steps and corrections, without
 * waking up and starting a batch. On the hosts of two H200 batches of 1 and 27 evaluations took 0.12 and 1.2 ms, and 0.08 and 1.3.
 */
const FURTHER = 0.35;

/** Seconds on the host for a batch. */
export function hostTime(
  { hostSeconds = 0, hostSecondsEach = FURTHER * hostSeconds }: HostCost,
  evaluations: number,
): number {
  return hostSeconds + hostSecondsEach * (evaluations - 1);
}

/** Cost of a run in virtual time. */
export interface Forecast {
  readonly seconds: number;
  /** Length of the longest chain of evaluations in which each waits for the one before. */
  readonly critical: number;
  /** Evaluations of an image, speculative ones included. */
  readonly total: number;
  readonly batches: number;
}

/** An evaluation, or one of its rows. */
interface SimulatedTask extends PendingEvaluation {
  readonly task: Task;
  readonly sampler: Sampler;
  /** The parts of the evaluation that have not ended. */
  readonly open: { count: number };
}

/**
 * Runs samplers, one for each image, in virtual time, with the batches that a `Batcher` makes on an engine without other
 * clients. Predictions are pseudo-random, so no state is reached twice.
 * @param iterations number of iterations after the first iterate at which each sampler is stopped, if it has not ended
 * @example
 * // The seconds of 25 serial steps where a batch takes 5 ms.
 * const steps = fineGrid(scheduleConfig(), 25);
 * const sampler = serial({ x: Float32Array.of(0), steps, solver: ddim });
 * const hardware = { devices: [() => 0.005], rowsPerEvaluation: 2, maxRows: 64, minRows: 0 };
 * const { seconds, batches } = simulate([sampler], Infinity, hardware);
 */
export function simulate(samplers: readonly Sampler[], iterations: number, hardware: Hardware): Forecast {
  return finish(simulation(samplers, iterations, hardware));
}

/** Work before a simulation yields, in evaluations of a batch to sort: a millisecond, or several before the code is compiled. */
const WORK = 1000;
/** Work of finishing an evaluation, and of a new one. */
const FINISHING = 10;

/** `simulate` in steps. @param limit seconds after which the run is of no interest: its cost until then is returned */
export function* simulation(
  samplers: readonly Sampler[],
  iterations: number,
  hardware: Hardware,
  limit = Infinity,
): Steps<Forecast> {
  const { devices, rowsPerEvaluation, splitsRows = false, maxRows, minRows } = hardware;
  const [parts, rows] = splitsRows ? [rowsPerEvaluation, 1] : [1, rowsPerEvaluation];
  const free = devices.map((_, device) => device);
  const running: { readonly end: number; readonly device: number; readonly batch: readonly SimulatedTask[] }[] = [];
  const active = new Set(samplers);
  const predict = randomPredictions();
  // Enough for a full batch on each free device: what lies behind changes no batch.
  const mostItems = Math.max(1, Math.ceil(maxRows / rows));
  let pending: SimulatedTask[] = [];
  let isSorted = true;
  let now = 0;
  let critical = 0;
  let total = 0;
  let batches = 0;
  let work = 0;

  /** Takes what a sampler has completed, and what has become ready. */
  const collect = (sampler: Sampler, image: number): void => {
    for (const { iteration, depth, final } of sampler.completed()) {
      if (!active.has(sampler) || (!final && iteration < iterations)) continue;
      active.delete(sampler);
      critical = Math.max(critical, depth);
    }
    if (!active.has(sampler)) {
      pending = pending.filter((one) => one.sampler !== sampler);
      return;
    }
    for (const task of sampler.ready()) {
      const { iteration, block, step, stage } = task.id;
      const priority = [iteration, block, step, stage, image];
      const { speculative } = task;
      const item = { task, sampler, rows, priority, speculative, key: '', maxRows, minRows, open: { count: parts } };
      for (let part = 0; part < parts; part++) pending.push(item);
      isSorted = false;
    }
  };
  /** Fills the free devices. */
  const dispatch = (): void => {
    if (!isSorted) {
      pending.sort(byPriority);
      work += pending.length;
      isSorted = true;
    }
    while (free.length > 0 && pending.length > 0) {
      const first = pending.slice(0, mostItems * free.length);
      const client = { pending: first, servedRows: 0, running: 0, maxClientRows: Infinity };
      const batch = nextBatch([client], { maxRows, freeDevices: free.length, contended: false });
      // The most urgent ones, since all have the same key.
      pending.splice(0, batch.length);
      work += first.length;
      const [device] = free.splice(0, 1);
      const seconds = devices[device](batch.length * rows) + hostTime(hardware, batch.length / parts);
      running.push({ end: now + seconds, device, batch });
      total += batch.length / parts;
      batches++;
    }
  };

  samplers.forEach(collect);
  while (active.size > 0 && now < limit) {
    dispatch();
    if (running.length === 0) throw new Error('a sampler waits for nothing and does not end');
    running.sort((a, b) => a.end - b.end);
    now = running[0].end;
    while (running.length > 0 && running[0].end === now) {
      const [{ device, batch }] = running.splice(0, 1);
      free.push(device);
      for (const { sampler, task, open } of batch) {
        if (--open.count > 0) continue;
        if (work >= WORK) {
          work = 0;
          yield;
        }
        if (!active.has(sampler)) continue;
        const before = pending.length;
        sampler.finish(task, predict());
        collect(sampler, samplers.indexOf(sampler));
        work += FINISHING * (1 + Math.max(0, pending.length - before));
      }
    }
  }
  return { seconds: now, critical, total: Math.round(total / samplers.length), batches };
}

/**
 * Number of sequential evaluations of `iterations` iterations of SRDS if every batch costs one: with B blocks of S steps
 * kS + B - k, and for no partition more than N. With barriers it can exceed N, since each iteration waits for the one before.
 * @param iterations at most the number of blocks
 * @example
 * criticalPath([5, 5, 5, 5, 5], 1); // 9, where the serial sampler takes 25
 */
export function criticalPath(partition: Partition, iterations: number, pipelined = true): number {
  const steps = simulatedSteps(partition.reduce((sum, length) => sum + length, 0));
  const sampler = srds({ x: Float32Array.of(0), steps, solver: simulatedSolver(1), partition, pipelined });
  const unit = { devices: [() => 1], rowsPerEvaluation: 1, maxRows: Infinity, minRows: 0 };
  return simulate([sampler], iterations, unit).critical;
}

/** A grid for simulations, with the levels of a smooth schedule. */
export function simulatedSteps(count: number): readonly SolverStep[] {
  const level = (i: number): NoiseLevel => ({ t: count - i, alphaBar: (i + 0.5) / (count + 1) });
  return Array.from({ length: count }, (_, i) => ({ from: level(i), to: level(i + 1) }));
}

/** A solver for simulations: its steps end at the predicted sample of their last evaluation. */
export function simulatedSolver(evaluationsPerStep: number): Solver {
  const common = { name: 'simulated', order: 1, evaluationsPerStep };
  if (evaluationsPerStep === 1) return { ...common, step: (_x, { x0 }) => x0 };
  return {
    ...common,
    *step(x, { x0 }, { to }) {
      for (let k = 1; k < evaluationsPerStep; k++) ({ x0 } = yield { x, level: to });
      return x0;
    },
  };
}

/** Predictions of one value each, from a linear congruential generator (Numerical Recipes, 7.1). */
function randomPredictions(): () => Prediction {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const x0 = Float32Array.of(state / 2 ** 32);
    return { x0, epsilon: x0 };
  };
}
