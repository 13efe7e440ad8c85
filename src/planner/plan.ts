import { basisOf } from './convergence.js';
import { rowsThatPay } from './curve.js';
import {
  batchSizes,
  forecastSerial,
  leastPicardSeconds,
  leastSeconds,
  picardForecast,
  serialForecast,
  srdsForecast,
  type Machine,
  type StoppingRule,
  type TrajectorySize,
} from './forecast.js';
import { defaultPartition, evenPartition, rampedPartition, type Partition } from '../sampler/partition.js';
import type { Forecast } from '../run/simulate.js';
import { finish, type Steps } from '../run/steps.js';

/** A sampler with its parameters, and its forecast. */
export type Candidate = Forecast & {
  /** Seconds of the serial sampler divided by its own. */
  readonly speedUp: number;
} & (
    | { readonly sampler: 'serial' }
    | { readonly sampler: 'srds'; readonly partition: Partition; readonly maxRows: number }
    | { readonly sampler: 'picard'; readonly window: number }
  );

/** All candidates, and the chosen one. */
export interface Plan {
  /** The serial sampler first. */
  readonly candidates: readonly Candidate[];
  readonly chosen: Candidate;
  /** The reason, in words. */
  readonly reason: string;
  /** What the forecasts rest on, in words. */
  readonly basis: string;
}

/** What to plan for. */
export interface PlanRequest extends TrajectorySize, StoppingRule {
  /** The only partition to consider for SRDS; default: several. */
  readonly partition?: Partition | undefined;
  /** The windows to consider for picard; default: all steps. A smaller one moves past states that still change (docs/benchmarks.md). */
  readonly windows?: readonly number[] | undefined;
}

/** A parallel sampler must be forecast to be faster by this share, since forecasts are no more accurate. */
const MARGIN = 0.05;
/** The same for other blocks against the default ones, whose number of iterations is known better. */
const BLOCKS_MARGIN = 0.25;
const MAX_COUNTS = 12;
/** With fewer steps its forecasts were too short, by a fifth at 25 steps on two GPUs. */
export const LEAST_FOR_PICARD = 50;

/**
 * Forecasts the serial sampler, SRDS and picard on a machine, and chooses the fastest.
 * @example
 * const curve = parseCurve({ padded: true, points: [{ rows: 2, seconds: 0.003 }, { rows: 32, seconds: 0.004 }] }, 'example');
 * const { chosen, reason } = plan({ steps: 100 }, { devices: [curve], rowsPerEvaluation: 2, maxRows: 32 });
 */
export function plan(request: PlanRequest, machine: Machine): Plan {
  return finish(planning(request, machine));
}

/** `plan` in steps, for a caller with other work: of hundreds of steps and several images it takes a second. */
export function* planning(request: PlanRequest, machine: Machine): Steps<Plan> {
  const { steps, evaluationsPerStep = 1 } = request;
  const { images = 1 } = machine;
  const serial = yield* serialCandidate(request, machine);
  const faster = (seconds: number) => serial.seconds / seconds;
  const candidates: Candidate[] = [serial];
  const partitions = request.partition
    ? [request.partition]
    : counts(steps).map((blocks) => partitionOf(steps, blocks));
  if (steps > 1) {
    // The best batch size depends little on the blocks: it is found for the usual ones, and near it for the others.
    const usual = yield* srdsForecast(
      request.partition ?? defaultPartition(steps),
      evaluationsPerStep,
      machine,
      request,
    );
    const sizes = batchSizes(machine);
    const at = sizes.indexOf(usual.maxRows);
    const near = sizes.slice(Math.max(0, at - 1), at + 2);
    for (const partition of partitions) {
      const forecast =
        partition === request.partition
          ? usual
          : yield* srdsForecast(partition, evaluationsPerStep, machine, request, near);
      candidates.push({ sampler: 'srds', partition, ...forecast, speedUp: faster(forecast.seconds) });
    }
  }
  if (evaluationsPerStep === 1 && steps > 1) {
    const asked = request.windows ?? (request.partition ? [] : [steps]);
    for (const window of asked) {
      // With several images a simulation takes long.
      const isHopeless = window >= steps && leastPicardSeconds(steps, machine, request) > serial.seconds;
      if (isHopeless && images > 1) continue;
      const forecast = yield* picardForecast(steps, window, machine, request);
      candidates.push({ sampler: 'picard', window, ...forecast, speedUp: faster(forecast.seconds) });
    }
  }
  const able = candidates.slice(1).filter((candidate) => mayBeChosen(candidate, steps));
  if (able.length === 0) {
    return { candidates, chosen: serial, reason: 'there is one step only', basis: basisOf(machine.convergence) };
  }
  return chosenOf(candidates, bestOf(able, serial, steps), machine);
}

function* serialCandidate(request: PlanRequest, machine: Machine): Steps<Candidate> {
  return { sampler: 'serial', ...(yield* serialForecast(request, machine)), speedUp: 1 };
}

/** The plan with the best candidate if it gains enough, and with the serial sampler otherwise. @param candidates the serial sampler first */
function chosenOf(candidates: readonly Candidate[], best: Candidate, machine: Machine): Plan {
  const [serial] = candidates;
  const chosen = best.seconds <= (1 - MARGIN) * serial.seconds ? best : serial;
  return { candidates, chosen, reason: reasonFor(chosen, best, machine), basis: basisOf(machine.convergence) };
}

/**
 * A plan that was made for a machine like this one, with forecasts for this one: of the serial sampler, and of the choice or, if that was
 * the serial sampler, the next best.
 * @returns undefined if the choice does not gain here
 */
export function* renewedPlan(before: Plan, request: PlanRequest, machine: Machine): Steps<Plan | undefined> {
  const { steps } = request;
  const wasSerial = before.chosen.sampler === 'serial';
  const serial = yield* serialCandidate(request, machine);
  const able = before.candidates.filter((one) => one.sampler !== 'serial' && mayBeChosen(one, steps));
  if (able.length === 0) return { ...before, candidates: [serial], chosen: serial };
  const known = wasSerial ? bestOf(able, before.chosen, steps) : before.chosen;
  const forecast = yield* forecastOf(known, request, machine);
  const best: Candidate = { ...known, ...forecast, speedUp: serial.seconds / forecast.seconds };
  const plan = chosenOf([serial, best], best, machine);
  return plan.chosen === serial && !wasSerial ? undefined : plan;
}

function forecastOf(candidate: Candidate, request: PlanRequest, machine: Machine): Steps<Forecast> {
  const { steps, evaluationsPerStep = 1 } = request;
  switch (candidate.sampler) {
    case 'serial':
      return serialForecast(request, machine);
    case 'srds':
      return srdsForecast(candidate.partition, evaluationsPerStep, machine, request, [candidate.maxRows]);
    case 'picard':
      return picardForecast(steps, candidate.window, machine, request);
  }
}

/**
 * Whether no parallel sampler can be chosen, without simulating any: each evaluates every step at least once, so it takes as long as
 * those evaluations in the cheapest batches.
 */
export function cannotGain(request: TrajectorySize, machine: Machine): boolean {
  const { steps, evaluationsPerStep = 1 } = request;
  const least = leastSeconds(steps * evaluationsPerStep, machine);
  return least > (1 - MARGIN) * forecastSerial(request, machine).seconds;
}

/** The fastest, or SRDS with its default blocks if it gains and no other is faster by more than forecasts are accurate. */
function bestOf(able: readonly Candidate[], serial: Candidate, steps: number): Candidate {
  const fastest = able.reduce((a, b) => (b.seconds < a.seconds ? b : a));
  const usual = able.find((candidate) => isUsual(candidate, steps));
  if (!usual || usual.seconds > (1 - MARGIN) * serial.seconds) return fastest;
  const margin = fastest.sampler === 'srds' ? BLOCKS_MARGIN : MARGIN;
  return usual.seconds <= fastest.seconds / (1 - margin) ? usual : fastest;
}

/** Whether the planner may choose a candidate. */
export function mayBeChosen({ sampler }: Candidate, steps: number): boolean {
  return sampler !== 'picard' || steps >= LEAST_FOR_PICARD;
}

/** Whether a candidate is SRDS with the default blocks. */
function isUsual(candidate: Candidate, steps: number): boolean {
  return candidate.sampler === 'srds' && candidate.partition.length === defaultPartition(steps).length;
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
 * Blocks for a given count. Fewer than the default are even: a ramp with long coarse steps converges falsely for one prompt in
 * ten, grey levels away (docs/benchmarks.md).
 */
export function partitionOf(steps: number, blocks: number): Partition {
  return blocks < defaultPartition(steps).length ? evenPartition(steps, blocks) : rampedPartition(steps, blocks);
}

/** @param best of the parallel samplers */
function reasonFor(chosen: Candidate, best: Candidate, { devices, rowsPerEvaluation }: Machine): string {
  const what = nameOf(best);
  if (chosen === best) {
    const larger = rowsThatPay(devices[0]) > rowsPerEvaluation;
    const why = larger ? 'a large batch costs less here than its rows one by one' : 'the devices share the work';
    return `${what} should be ${best.speedUp.toFixed(1)} times faster than the serial sampler, since ${why}`;
  }
  if (best.speedUp > 1.005) {
    return `${what} would gain ${Math.round(100 * (best.speedUp - 1))} %, less than forecasts are accurate to`;
  }
  const why =
    rowsThatPay(devices[0]) > rowsPerEvaluation ? '' : ': a large batch costs here as much as its rows one by one';
  return `${what}, the next best, would gain nothing${why}`;
}

/** A candidate, in words. */
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
