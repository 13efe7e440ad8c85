import { latency, rowsNotWorthSplitting, type LatencyCurve } from '../planner/curve.js';
import type { Partition } from '../sampler/partition.js';

/** Where a sample is drawn. */
export interface Machine {
  /** Latency of a batch on each device. */
  readonly devices: readonly LatencyCurve[];
  /** Rows that an evaluation takes: two with guidance. */
  readonly rowsPerEvaluation: number;
  /** Images that are drawn at once, their evaluations in batches with one another; default 1. */
  readonly images?: number | undefined;
  /** Rows of the largest batch. */
  readonly maxRows: number;
}

/** What a run comes to. */
export interface Forecast {
  readonly seconds: number;
  /** Longest chain of evaluations in which each waits for the one before. */
  readonly critical: number;
  /** All evaluations that are made for an image, speculative ones included. */
  readonly total: number;
  readonly batches: number;
}

/** An evaluation of SRDS, by where it stands in the recurrence: step 0 is the one at the block's start. */
interface Task {
  readonly image: number;
  readonly iteration: number;
  readonly block: number;
  readonly step: number;
}

/** The serial sampler: one evaluation after the other, the images spread over the devices. */
export function simulateSerial(evaluations: number, machine: Machine): Forecast {
  const { images = 1 } = machine;
  const { hostSeconds = 0 } = machine.devices[0];
  const { seconds, batches } = spread(images, machine);
  return {
    seconds: evaluations * (seconds + images * hostSeconds),
    critical: evaluations,
    total: evaluations,
    batches: evaluations * batches,
  };
}

/**
 * Passes over a window of steps, as picard makes them: each evaluates the window's states at once.
 * @param passes after the first evaluation
 */
export function simulatePasses(window: number, passes: number, machine: Machine): Forecast {
  const { images = 1 } = machine;
  const { hostSeconds = 0 } = machine.devices[0];
  const first = spread(images, machine);
  const pass = spread(window * images, machine);
  return {
    seconds: first.seconds + passes * (pass.seconds + window * images * hostSeconds),
    critical: 1 + passes,
    total: 1 + Math.round(passes * window),
    batches: first.batches + Math.round(passes * pass.batches),
  };
}

/**
 * SRDS, pipelined: every evaluation in the order of the batcher, on the machine's devices, in virtual time. A task is ready
 * when the recurrence has its inputs (sampler/recurrence.ts):
 *
 *     x[0][i+1] after the evaluation at x[0][i]
 *     x[p][i+1] after block i's fine steps from x[p-1][i] and the evaluation at x[p][i]; the first that is exact after the fine steps alone
 *
 * @param iterations after which the run ends; a broken number stands for a mean over samples
 */
export function simulateSrds(partition: Partition, iterations: number, machine: Machine): Forecast {
  const low = Math.max(1, Math.floor(iterations));
  const share = iterations - low;
  const few = simulateWhole(partition, low, machine);
  if (share <= 0) return few;
  const more = simulateWhole(partition, low + 1, machine);
  const mean = (of: (forecast: Forecast) => number) => (1 - share) * of(few) + share * of(more);
  return {
    seconds: mean(({ seconds }) => seconds),
    critical: mean(({ critical }) => critical),
    total: mean(({ total }) => total),
    batches: mean(({ batches }) => batches),
  };
}

function simulateWhole(partition: Partition, iterations: number, machine: Machine): Forecast {
  const { rowsPerEvaluation, images = 1 } = machine;
  const least = rowsNotWorthSplitting(machine.devices[0]);
  const ready: Task[] = [];
  const courses = Array.from({ length: images }, (_, image) => courseOf(image, partition, iterations, ready));
  const free: LatencyCurve[] = [...machine.devices];
  const running: { readonly at: number; readonly curve: LatencyCurve; readonly tasks: readonly Task[] }[] = [];
  let now = 0;
  let total = 0;
  let batches = 0;
  while (courses.some(({ end }) => end() === undefined)) {
    while (free.length > 0 && ready.length > 0) {
      ready.sort((a, b) => a.iteration - b.iteration || a.block - b.block || a.step - b.step || a.image - b.image);
      const share = Math.ceil((ready.length * rowsPerEvaluation) / free.length);
      const room = Math.min(machine.maxRows, Math.max(least, share));
      const tasks = ready.splice(0, Math.max(1, Math.floor(room / rowsPerEvaluation)));
      const [curve] = free.splice(0, 1);
      const seconds = latency(curve, tasks.length * rowsPerEvaluation) + tasks.length * (curve.hostSeconds ?? 0);
      running.push({ at: now + seconds, curve, tasks });
      total += tasks.length;
      batches++;
    }
    running.sort((a, b) => a.at - b.at);
    const [{ at }] = running;
    now = at;
    while (running.length > 0 && running[0].at === at) {
      const [{ curve, tasks }] = running.splice(0, 1);
      free.push(curve);
      for (const task of tasks) courses[task.image].finish(task);
    }
  }
  const critical = Math.max(...courses.map(({ end }) => end() ?? 0));
  return { seconds: now, critical, total: Math.round(total / images), batches };
}

/** An image's way through the recurrence. */
interface Course {
  readonly finish: (task: Task) => void;
  /** The depth at which its last iteration ended, once it has. */
  readonly end: () => number | undefined;
}

/** @param ready takes the tasks that can be run */
function courseOf(image: number, partition: Partition, iterations: number, ready: Task[]): Course {
  const blocks = partition.length;
  const exact = exactFronts(partition);
  const last = Math.min(iterations, exact.length - 1);
  /** Depths before the evaluations that were begun, and after those that have ended. */
  const before = new Map<number, number>();
  const depths = new Map<number, number>();
  const most = Math.max(...partition);
  const key = (iteration: number, block: number, step: number) => (iteration * blocks + block) * most + step;
  const depthOf = (iteration: number, block: number, step: number) => depths.get(key(iteration, block, step));
  let end: number | undefined;

  /** x[p][i] is known. */
  const known = (p: number, i: number, depth: number): void => {
    if (i === blocks) {
      if (p === last) end = depth;
    } else start({ image, iteration: p, block: i, step: 0 }, depth);
  };
  const start = (task: Task, depth: number): void => {
    if (end !== undefined) return;
    ready.push(task);
    before.set(key(task.iteration, task.block, task.step), depth);
  };
  /** x[p][i+1], if all that it needs has been evaluated; a block of one step needs its coarse step only. */
  const cross = (p: number, i: number): void => {
    if (i < exact[p - 1]) return;
    const fine = partition[i] === 1 ? 0 : depthOf(p, i, partition[i] - 1);
    const coarse = i === exact[p - 1] ? 0 : depthOf(p, i, 0);
    if (fine !== undefined && coarse !== undefined) known(p, i + 1, Math.max(fine, coarse));
  };
  const finish = ({ iteration: p, block: i, step }: Task): void => {
    const depth = (before.get(key(p, i, step)) ?? 0) + 1;
    depths.set(key(p, i, step), depth);
    if (step === 0) {
      if (p === 0) known(0, i + 1, depth);
      else cross(p, i);
      // Block i's fine steps of the next iteration go on from here.
      if (partition[i] > 1 && i >= exact[p]) start({ image, iteration: p + 1, block: i, step: 1 }, depth);
    } else if (step < partition[i] - 1) start({ image, iteration: p, block: i, step: step + 1 }, depth);
    else cross(p, i);
  };
  known(0, 0, 0);
  return { finish, end: () => end };
}

/** How many boundaries are those of the serial sampler after each iteration, to the end: the first p at least, and those behind blocks of one step. */
function exactFronts(partition: Partition): number[] {
  const fronts: number[] = [];
  for (let front = 0; ; front++) {
    while (front < partition.length && partition[front] === 1) front++;
    fronts.push(Math.min(front, partition.length));
    if (front >= partition.length) return fronts;
  }
}

/** So many evaluations that wait for nothing, spread over the devices. */
function spread(evaluations: number, machine: Machine): { readonly seconds: number; readonly batches: number } {
  const { devices, rowsPerEvaluation, maxRows } = machine;
  if (evaluations === 1) {
    const alone = devices.map((curve) => curve.aloneSeconds ?? latency(curve, rowsPerEvaluation));
    return { seconds: Math.min(...alone), batches: 1 };
  }
  const parts = Math.ceil((evaluations * rowsPerEvaluation) / rowsNotWorthSplitting(devices[0]));
  const used = Math.min(devices.length, evaluations, parts);
  const share = Math.ceil(evaluations / used) * rowsPerEvaluation;
  const seconds = Math.max(...devices.slice(0, used).map((curve) => inParts(curve, share, maxRows)));
  return { seconds, batches: used * Math.ceil(share / maxRows) };
}

function inParts(curve: LatencyCurve, rows: number, maxRows: number): number {
  const whole = Math.floor(rows / maxRows);
  const rest = rows % maxRows;
  return (whole > 0 ? whole * latency(curve, maxRows) : 0) + (rest > 0 ? latency(curve, rest) : 0);
}
