import type { Partition } from '../sampler/partition.js';
import { picard } from '../sampler/picard.js';
import type { Sampler } from '../sampler/sampler.js';
import { serial, type SerialOptions } from '../sampler/serial.js';
import { srds } from '../sampler/srds.js';
import {
  simulatedSolver,
  simulatedSteps,
  hostTime,
  simulation,
  type Forecast,
  type Hardware,
} from '../run/simulate.js';
import { finish, type Steps } from '../run/steps.js';
import { expectedIterations, expectedPasses, type Convergence } from './convergence.js';
import { latency, rowsNotWorthSplitting, type LatencyCurve } from './curve.js';

/** Devices that generate images, as the planner knows them. */
export interface Machine {
  /** Latency of a batch on each device. */
  readonly devices: readonly LatencyCurve[];
  /** Rows of an evaluation: two with guidance. */
  readonly rowsPerEvaluation: number;
  /** Whether devices share the rows of an evaluation of the serial sampler; default: one device has them all. */
  readonly splitsRows?: boolean | undefined;
  /** Images that are generated at once, sharing batches; default 1. */
  readonly images?: number | undefined;
  /** Rows of the largest batch. */
  readonly maxRows: number;
  /** Iterations that the model takes; default: those of the bundled one. */
  readonly convergence?: Convergence | undefined;
  /** Seconds of decoding an image on one device; default: those of an evaluation. */
  readonly decodeSeconds?: number | undefined;
}

/** The trajectory to forecast. */
export interface TrajectorySize {
  /** Fine steps. */
  readonly steps: number;
  /** Evaluations of a solver step; default 1. */
  readonly evaluationsPerStep?: number | undefined;
}

/** When iterations stop, and whether they overlap. */
export interface StoppingRule {
  /** Grey levels at which iterations stop; default 0.08. */
  readonly tolerance?: number | undefined;
  /** Last iteration in any case. */
  readonly maxIterations?: number | undefined;
  /** Whether they stop by the changes that are predicted, or that all states make; default. Otherwise by the last change of the image. */
  readonly looksAhead?: boolean | undefined;
  /** Whether those of SRDS overlap (default), or each waits for the one before. */
  readonly pipelined?: boolean | undefined;
  /** Whether the image of each iteration is decoded, to show it or to see its change; default: only the last one. */
  readonly decodesEach?: boolean | undefined;
}

/** The serial sampler. A single image has one device to itself, or one for each row. */
export function forecastSerial(size: TrajectorySize, machine: Machine): Forecast {
  return finish(serialForecast(size, machine));
}

/** `forecastSerial` in steps. */
export function serialForecast(size: TrajectorySize, machine: Machine): Steps<Forecast> {
  const { images = 1, devices, rowsPerEvaluation, splitsRows = false } = machine;
  const hardware = hardwareOf(machine);
  if (splitsRows) return runOf(serial, size, images, Infinity, { ...hardware, splitsRows, minRows: 1 });
  const alone = Math.min(...devices.map((curve) => curve.aloneSeconds ?? latency(curve, rowsPerEvaluation)));
  return runOf(serial, size, images, Infinity, images === 1 ? { ...hardware, devices: [() => alone] } : hardware);
}

/**
 * SRDS with its expected number of iterations, in batches of the size that makes it fastest: in larger ones urgent evaluations
 * wait for speculative ones, in smaller ones for their turn.
 * @param sizes of batches to choose from, in rows; default: those of the machine's curve
 */
export function forecastSrds(
  partition: Partition,
  evaluationsPerStep: number,
  machine: Machine,
  stopping: StoppingRule = {},
  sizes = batchSizes(machine),
): SrdsForecast {
  return finish(srdsForecast(partition, evaluationsPerStep, machine, stopping, sizes));
}

/** A forecast, with the rows of the largest batch that it is for. */
export type SrdsForecast = Forecast & { readonly maxRows: number };

/** `forecastSrds` in steps. */
export function* srdsForecast(
  partition: Partition,
  evaluationsPerStep: number,
  machine: Machine,
  stopping: StoppingRule = {},
  sizes = batchSizes(machine),
): Steps<SrdsForecast> {
  const { tolerance, maxIterations = Infinity, pipelined = true } = stopping;
  // Without overlap nothing is known of the next iteration.
  const looksAhead = pipelined && stopping.looksAhead !== false;
  const expected = expectedIterations(partition, tolerance, machine.convergence, looksAhead);
  const iterations = Math.min(maxIterations, expected);
  const run = { evaluationsPerStep, maxIterations, pipelined };
  const forecasts: SrdsForecast[] = [];
  for (const maxRows of sizes) {
    const limit = Math.min(...forecasts.map(({ seconds }) => seconds));
    const limited = { ...machine, maxRows };
    const forecast = yield* srdsSimulation(partition, iterations, limited, run, limit);
    forecasts.push({ ...forecast, maxRows });
  }
  const best = forecasts.reduce((a, b) => (b.seconds < a.seconds ? b : a));
  const waits = !pipelined && stopping.looksAhead === false;
  return { ...best, seconds: best.seconds + decodingSeconds(iterations, machine, stopping, waits) };
}

/** SRDS, pipelined. @param iterations at which the run ends; a fraction stands for a mean over samples */
export function simulateSrds(
  partition: Partition,
  iterations: number,
  machine: Machine,
  evaluationsPerStep = 1,
): Forecast {
  return finish(srdsSimulation(partition, iterations, machine, { evaluationsPerStep }));
}

/** How SRDS runs. Nothing of an iteration after the last one is evaluated. */
interface SrdsRun extends Pick<StoppingRule, 'maxIterations' | 'pipelined'> {
  readonly evaluationsPerStep: number;
}

function srdsSimulation(
  partition: Partition,
  iterations: number,
  machine: Machine,
  { evaluationsPerStep, maxIterations = Infinity, pipelined }: SrdsRun,
  limit = Infinity,
): Steps<Forecast> {
  const size = { steps: partition.reduce((sum, length) => sum + length, 0), evaluationsPerStep };
  const hardware = hardwareOf(machine);
  const last = Number.isFinite(maxIterations) ? maxIterations : undefined;
  const start = (options: SerialOptions) => srds({ ...options, partition, pipelined, maxIterations: last });
  return interpolated(iterations, (count, most) => runOf(start, size, machine.images, count, hardware, most), limit);
}

/** picard with its expected number of passes. */
export function forecastPicard(steps: number, window: number, machine: Machine, stopping: StoppingRule = {}): Forecast {
  return finish(picardForecast(steps, window, machine, stopping));
}

/** `forecastPicard` in steps. */
export function* picardForecast(
  steps: number,
  window: number,
  machine: Machine,
  stopping: StoppingRule,
): Steps<Forecast> {
  const { tolerance, maxIterations = Infinity, looksAhead } = stopping;
  const passes = Math.min(maxIterations, expectedPasses(steps, window, tolerance, machine.convergence, looksAhead));
  const hardware = hardwareOf(machine);
  const start = (options: SerialOptions) => picard({ ...options, window });
  const forecast = yield* interpolated(passes, (count) => runOf(start, { steps }, machine.images, count, hardware));
  return { ...forecast, seconds: forecast.seconds + decodingSeconds(passes, machine, stopping, looksAhead === false) };
}

/**
 * Seconds that decoding takes from the evaluations: the image of each iteration but the last, which every sampler decodes.
 * @param waits whether no device evaluates meanwhile
 */
function decodingSeconds(
  iterations: number,
  machine: Machine,
  { decodesEach = false }: StoppingRule,
  waits: boolean,
): number {
  if (!decodesEach) return 0;
  const { devices, images = 1, decodeSeconds = evaluationSeconds(machine) } = machine;
  return (iterations * images * decodeSeconds) / (waits ? 1 : devices.length);
}

/** Seconds of a batch of one evaluation on the fastest device. */
export function evaluationSeconds({ devices, rowsPerEvaluation }: Machine): number {
  return Math.min(...devices.map((curve) => latency(curve, rowsPerEvaluation)));
}

/** Sizes of batches to choose from, in rows, the largest first. */
export function batchSizes({ devices: [{ points }], maxRows, rowsPerEvaluation }: Machine): number[] {
  const smaller = points.map(({ rows }) => rows).filter((rows) => rows >= rowsPerEvaluation && rows < maxRows);
  return [maxRows, ...smaller.reverse()];
}

/**
 * Seconds that the evaluations of picard with all steps in its window take at least: pass p evaluates all states but the first p, in
 * batches that cost least.
 */
export function leastPicardSeconds(
  steps: number,
  machine: Machine,
  { tolerance, maxIterations = Infinity, looksAhead }: StoppingRule,
): number {
  const expected = expectedPasses(steps, steps, tolerance, machine.convergence, looksAhead);
  const passes = Math.floor(Math.min(maxIterations, expected));
  return leastSeconds(passes * steps - (passes * (passes + 1)) / 2, machine);
}

/** Seconds that so many evaluations of each image take at least. */
export function leastSeconds(evaluations: number, machine: Machine): number {
  const { devices, rowsPerEvaluation, maxRows, images = 1 } = machine;
  const sizes = Array.from({ length: Math.max(1, Math.floor(maxRows / rowsPerEvaluation)) }, (_, k) => k + 1);
  const perSecond = new Map<LatencyCurve, number>();
  for (const curve of new Set(devices)) {
    const secondsOf = (count: number) => latency(curve, count * rowsPerEvaluation) + hostTime(curve, count);
    perSecond.set(curve, 1 / Math.min(...sizes.map((count) => secondsOf(count) / count)));
  }
  return (evaluations * images) / devices.reduce((sum, curve) => sum + (perSecond.get(curve) ?? 0), 0);
}

function* runOf(
  start: (options: SerialOptions) => Sampler,
  { steps, evaluationsPerStep = 1 }: TrajectorySize,
  images = 1,
  iterations: number,
  hardware: Hardware,
  limit = Infinity,
): Steps<Forecast> {
  const options = { x: Float32Array.of(0), steps: simulatedSteps(steps), solver: simulatedSolver(evaluationsPerStep) };
  const samplers: Sampler[] = [];
  for (let image = 0; image < images; image++) {
    samplers.push(start(options));
    yield;
  }
  return yield* simulation(samplers, iterations, hardware, limit);
}

/**
 * The forecast for a fractional number of iterations, on the line between the whole numbers around it.
 * @param limit seconds beyond which a forecast need not be exact
 */
function* interpolated(
  iterations: number,
  forecast: (iterations: number, limit: number) => Steps<Forecast>,
  limit = Infinity,
): Steps<Forecast> {
  const low = Math.max(1, Math.floor(iterations));
  const share = iterations - low;
  const few = yield* forecast(low, limit);
  // More iterations take no less.
  if (share <= 0 || few.seconds >= limit) return few;
  const more = yield* forecast(low + 1, (limit - (1 - share) * few.seconds) / share);
  const mean = (of: (one: Forecast) => number) => (1 - share) * of(few) + share * of(more);
  return {
    seconds: mean(({ seconds }) => seconds),
    critical: mean(({ critical }) => critical),
    total: mean(({ total }) => total),
    batches: mean(({ batches }) => batches),
  };
}

function hardwareOf({ devices, rowsPerEvaluation, maxRows }: Machine): Hardware {
  return {
    devices: devices.map((curve) => (rows: number) => latency(curve, rows)),
    hostSeconds: devices[0].hostSeconds,
    hostSecondsEach: devices[0].hostSecondsEach,
    rowsPerEvaluation,
    maxRows,
    minRows: rowsNotWorthSplitting(devices[0], rowsPerEvaluation),
  };
}
