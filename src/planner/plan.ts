import { rowsThatPay } from './curve.js';
import { expectedIterations, expectedPasses } from './convergence.js';
import { defaultPartition, evenPartition, rampedPartition, type Partition } from '../sampler/partition.js';
import { simulatePasses, simulateSerial, simulateSrds, type Forecast, type Machine } from '../run/simulate.js';

/** One way to draw a sample, and what it should take. */
export type Candidate = Forecast & {
  /** How many times faster than the serial sampler. */
  readonly speedUp: number;
} & (
    | { readonly sampler: 'serial' }
    | { readonly sampler: 'srds'; readonly partition: Partition; readonly maxRows: number }
    | { readonly sampler: 'picard'; readonly window: number }
  );

/** All ways that were considered, and the one to take. */
export interface Plan {
  /** The serial sampler first. */
  readonly candidates: readonly Candidate[];
  readonly chosen: Candidate;
  /** Why, for people. */
  readonly reason: string;
}

/** What is to be drawn. */
export interface PlanRequest {
  /** Fine steps. */
  readonly steps: number;
  /** Evaluations that the solver takes a step; default 1. */
  readonly evaluationsPerStep?: number;
  /** Only this partition for SRDS; default: several. */
  readonly partition?: Partition | undefined;
  /** Grey levels at which iterations stop; default 0.5. */
  readonly tolerance?: number | undefined;
  /** Iterations after which they stop in any case. */
  readonly maxIterations?: number | undefined;
  /** Only these windows for picard, or none; default: several. */
  readonly windows?: readonly number[] | undefined;
}

/** A parallel sampler must promise to be faster by this share: forecasts are not better than that. */
const MARGIN = 0.05;
/** Likewise other blocks against the default ones: how many iterations they take is known less well. */
const BLOCKS_MARGIN = 0.25;
const MAX_COUNTS = 12;
/** With fewer steps picard's images are further from the serial sampler's than those of SRDS (docs/benchmarks.md). */
export const LEAST_FOR_PICARD = 50;

/** Forecasts the serial sampler, SRDS and picard on a machine, and chooses what should be fastest. */
export function plan(request: PlanRequest, machine: Machine): Plan {
  const { steps, evaluationsPerStep = 1 } = request;
  const serial: Candidate = { sampler: 'serial', ...simulateSerial(steps * evaluationsPerStep, machine), speedUp: 1 };
  const faster = (seconds: number) => serial.seconds / seconds;
  const candidates: Candidate[] = [serial];
  const partitions = request.partition
    ? [request.partition]
    : counts(steps).map((blocks) => partitionOf(steps, blocks));
  if (steps > 1) {
    // The best size depends little on the blocks: it is looked for with the usual ones, for others near it.
    const usual = forecastSrds(request.partition ?? defaultPartition(steps), evaluationsPerStep, machine, request);
    const sizes = batchSizes(machine);
    const at = sizes.indexOf(usual.maxRows);
    const near = sizes.slice(Math.max(0, at - 1), at + 2);
    for (const partition of partitions) {
      const forecast =
        partition === request.partition ? usual : forecastSrds(partition, evaluationsPerStep, machine, request, near);
      candidates.push({ sampler: 'srds', partition, ...forecast, speedUp: faster(forecast.seconds) });
    }
  }
  if (evaluationsPerStep === 1 && steps > 1) {
    const asked = request.windows ?? (request.partition ? [] : windows(steps, machine));
    for (const window of asked) {
      const forecast = forecastPicard(steps, window, machine, request);
      candidates.push({ sampler: 'picard', window, ...forecast, speedUp: faster(forecast.seconds) });
    }
  }
  const able = candidates.slice(1).filter((candidate) => mayBeChosen(candidate, steps));
  if (able.length === 0) return { candidates, chosen: serial, reason: 'there is one step only' };
  const best = bestOf(able, serial, steps);
  const chosen = best.seconds <= (1 - MARGIN) * serial.seconds ? best : serial;
  return { candidates, chosen, reason: reasonFor(chosen, best, machine) };
}

/** The fastest, or SRDS with its default blocks where that gains, and forecasts cannot tell that another is faster. */
function bestOf(able: readonly Candidate[], serial: Candidate, steps: number): Candidate {
  const fastest = able.reduce((a, b) => (b.seconds < a.seconds ? b : a));
  const usual = able.find((candidate) => isUsual(candidate, steps));
  if (!usual || usual.seconds > (1 - MARGIN) * serial.seconds) return fastest;
  const margin = fastest.sampler === 'srds' ? BLOCKS_MARGIN : MARGIN;
  return usual.seconds <= fastest.seconds / (1 - margin) ? usual : fastest;
}

/** Whether the planner takes it, should it be the fastest. */
export function mayBeChosen({ sampler }: Candidate, steps: number): boolean {
  return sampler !== 'picard' || steps >= LEAST_FOR_PICARD;
}

/** Whether it has the default blocks, of which most is known. */
function isUsual(candidate: Candidate, steps: number): boolean {
  return candidate.sampler === 'srds' && candidate.partition.length === defaultPartition(steps).length;
}

/** When iterations stop. */
export type Stopping = Pick<PlanRequest, 'tolerance' | 'maxIterations'>;

/**
 * SRDS with as many iterations as it takes on average, in batches of at most as many rows as make it fastest: in larger ones what
 * is urgent waits for what is speculative, in smaller ones for its turn.
 * @param sizes of batches to choose from, in rows; default: those of the machine's curve
 */
export function forecastSrds(
  partition: Partition,
  evaluationsPerStep: number,
  machine: Machine,
  { tolerance, maxIterations = Infinity }: Stopping = {},
  sizes = batchSizes(machine),
): Forecast & { readonly maxRows: number } {
  const iterations = Math.min(maxIterations, expectedIterations(partition, tolerance));
  const forecasts = sizes.map((maxRows) => {
    const forecast = simulateSrds(partition, iterations, { ...machine, maxRows });
    return { ...scaled(forecast, evaluationsPerStep), maxRows };
  });
  return forecasts.reduce((best, next) => (next.seconds < best.seconds ? next : best));
}

/** Rows that a batch may be given at most, the largest first. */
function batchSizes({ devices: [{ points }], maxRows, rowsPerEvaluation }: Machine): number[] {
  const smaller = points.map(({ rows }) => rows).filter((rows) => rows >= rowsPerEvaluation && rows < maxRows);
  return [maxRows, ...smaller.reverse()];
}

/** picard with as many passes as it takes on average. */
export function forecastPicard(
  steps: number,
  window: number,
  machine: Machine,
  { tolerance, maxIterations = Infinity }: Stopping = {},
): Forecast {
  return simulatePasses(window, Math.min(maxIterations, expectedPasses(steps, window, tolerance)), machine);
}

/** Block counts from half the square root of the steps to four times it. */
function counts(steps: number): number[] {
  const low = Math.max(2, Math.round(0.5 * Math.sqrt(steps)));
  const high = Math.min(steps, Math.round(4 * Math.sqrt(steps)));
  const factor = (high / low) ** (1 / (MAX_COUNTS - 1));
  const spread = Array.from({ length: MAX_COUNTS }, (_, k) => Math.round(low * factor ** k));
  const all = [...spread, Math.round(Math.sqrt(steps)), defaultPartition(steps).length];
  return [...new Set(all.filter((count) => count >= 2 && count <= steps))].sort((a, b) => a - b);
}

/**
 * Fewer blocks than the default are even: with longer steps of the coarse solver a ramp seems to converge at once for one prompt
 * in ten, grey levels away (docs/benchmarks.md).
 */
function partitionOf(steps: number, blocks: number): Partition {
  return blocks < defaultPartition(steps).length ? evenPartition(steps, blocks) : rampedPartition(steps, blocks);
}

/** Windows that fill a bucket of all devices together, and one of all steps. */
function windows(steps: number, { devices, rowsPerEvaluation }: Machine): number[] {
  const buckets = devices[0].points.map(({ rows }) => Math.floor((rows * devices.length) / rowsPerEvaluation));
  return [...new Set([...buckets.filter((count) => count >= 4 && count < steps), steps])];
}

/** A solver that takes more evaluations a step takes them one after the other. */
function scaled(forecast: Forecast, evaluations: number): Forecast {
  const { seconds, critical, total, batches } = forecast;
  return {
    seconds: seconds * evaluations,
    critical: critical * evaluations,
    total: total * evaluations,
    batches: batches * evaluations,
  };
}

/** @param best of the parallel samplers */
function reasonFor(chosen: Candidate, best: Candidate, { devices, rowsPerEvaluation }: Machine): string {
  const what = nameOf(best);
  if (chosen === best) {
    const larger = rowsThatPay(devices[0]) > rowsPerEvaluation;
    const why = larger ? 'larger batches cost less here than their rows one by one' : 'the devices share the work';
    return `${what} should be ${best.speedUp.toFixed(1)} times faster than the serial sampler, since ${why}`;
  }
  if (best.speedUp > 1.005) {
    return `${what} would gain ${Math.round(100 * (best.speedUp - 1))} %, less than forecasts are good for`;
  }
  const why = rowsThatPay(devices[0]) > rowsPerEvaluation ? '' : ': larger batches cost here what they save';
  return `${what}, the next best, would gain nothing${why}`;
}

/** A candidate in words. */
export function nameOf(candidate: Candidate): string {
  switch (candidate.sampler) {
    case 'serial':
      return 'serial';
    case 'srds':
      return `srds with ${candidate.partition.length} blocks`;
    case 'picard':
      return `picard with ${candidate.window} steps at a time`;
  }
}
