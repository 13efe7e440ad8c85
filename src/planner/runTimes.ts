import { hostTime, type HostCost } from '../run/simulate.js';
import { mean, sum } from '../statistics.js';
import { measuredHostSeconds } from './hostTime.js';
import { areSteady, inOrder, median, typical, UNMEASURED, type Measurements } from './measurements.js';

/** The fewest times of a size of batches that are used. */
const MIN_TIMES = 3;
/** Runs that are evaluated together. */
export const RUNS = 3;
/** A time counts as at most so many times the median of its size: other work of the machine may lie in it. */
const CAP = 4;
/** Share by which each of the runs has to differ from what is known. A correction changes plans, and is written to a file. */
const TOLERANCE = 0.07;
/** Difference of the largest and the smallest batch, in evaluations, from which a line through gaps is well determined. */
const MIN_SPREAD = 3;

/** Batches of a serial run. */
export interface SerialTimes {
  /** Seconds of each batch. */
  readonly times: readonly number[];
  /** Rows of each. */
  readonly rows: number;
  /** Devices of the engine, of which the run had one. */
  readonly devices: number;
  /** Numbers in a sample, for the cost on the host. */
  readonly sampleSize: number;
}

/**
 * Adds the times of a serial run's batches, which cost nothing to measure.
 * @returns undefined if there are too few times, or other work on the machine made them differ
 */
export async function withSerialTimes(
  known: Measurements | undefined,
  { times, rows, devices, sampleSize }: SerialTimes,
): Promise<Measurements | undefined> {
  if (times.length < MIN_TIMES || !areSteady(times)) return undefined;
  const { points, ...others } = known ?? UNMEASURED;
  const hostSeconds = others.hostSeconds || (await measuredHostSeconds(sampleSize));
  const seconds = typical(times);
  if (devices > 1) return { points, ...others, hostSeconds, aloneSeconds: seconds };
  const further = points.filter((one) => one.rows !== rows);
  return { ...others, points: inOrder([...further, { rows, seconds, steady: true }]), hostSeconds };
}

/** A batch of a run on one device. */
export interface TimedBatch {
  /** Milliseconds on one clock. */
  readonly begin: number;
  readonly end: number;
  /** Rows, those that pad it to its bucket included. */
  readonly rows: number;
  readonly evaluations: number;
}

/** A run that had a device to itself. */
export interface TimedRun {
  /** In the order in which they ran. */
  readonly batches: readonly TimedBatch[];
  /** Whether nothing but the sampler's work lies between them. */
  readonly showsHost: boolean;
}

/** Seconds of a batch. */
export function batchSeconds({ begin, end }: TimedBatch): number {
  return (end - begin) / 1000;
}

/**
 * Corrects what is known of a device by the last runs that had it to themselves, if each took longer than is known, or each shorter: a machine may
 * have been busy when it was measured, or its host slower than a measurement of one pass over memory tells. Sizes of batches that the
 * runs did not have change as much as the others on average: if they stayed, a machine that is busy for a while would make one sampler look
 * better than another.
 * @param runs `RUNS` of them or more
 * @returns `known` itself if it stands
 */
export function withRunTimes(known: Measurements, runs: readonly TimedRun[]): Measurements {
  const batches = capped(runs.flatMap((one, run) => latenciesOf(one, run, known)));
  const gaps = capped(runs.flatMap((one, run) => gapsOf(one, run, known)));
  const ratios = runs.map((_, k) => ratioOf([...batches, ...gaps].filter(({ run }) => run === k)));
  const isOff = ratios.every((ratio) => ratio > 1 + TOLERANCE) || ratios.every((ratio) => ratio < 1 - TOLERANCE);
  if (runs.length < RUNS || !isOff) return known;
  const seen = new Map<number, number>();
  const used: Time[] = [];
  for (const { rows } of known.points) {
    const times = batches.filter(({ size }) => size === rows);
    const seconds = times.map((time) => time.seconds);
    if (times.length < MIN_TIMES || !areSteady(seconds)) continue;
    seen.set(rows, mean(seconds));
    used.push(...times);
  }
  if (seen.size === 0) return known;
  const ratio = ratioOf(used);
  const points = known.points.map((point) => ({ ...point, seconds: seen.get(point.rows) ?? ratio * point.seconds }));
  return { ...known, points, ...hostCost(known, gaps) };
}

/** A time of a run. */
interface Time {
  /** Index of the run. */
  readonly run: number;
  /** Rows of a batch with those that pad it, or evaluations of the batch before a gap. */
  readonly size: number;
  readonly seconds: number;
  /** Seconds by what is known. */
  readonly expected: number;
}

/** What times are of those that were expected; 1 of none. */
function ratioOf(times: readonly Time[]): number {
  const expected = sum(times.map((time) => time.expected));
  return expected > 0 ? sum(times.map(({ seconds }) => seconds)) / expected : 1;
}

/** The times of the batches of a run that have known sizes. The first one of a size may open its bucket, so it does not count. */
function latenciesOf({ batches }: TimedRun, run: number, { points }: Measurements): Time[] {
  return points.flatMap(({ rows, seconds: expected }) => {
    const [, ...others] = batches.filter((batch) => batch.rows === rows);
    return others.map((batch) => ({ run, size: rows, seconds: batchSeconds(batch), expected }));
  });
}

/** The gaps between the batches of a run that shows what the host takes. */
function gapsOf({ batches, showsHost }: TimedRun, run: number, known: HostCost): Time[] {
  // What a batch returned is worked on before the next one begins.
  return (showsHost ? batches.slice(1) : []).map(({ begin }, k) => {
    const { end, evaluations } = batches[k];
    const seconds = Math.max(0, begin - end) / 1000;
    return { run, size: evaluations, seconds, expected: hostTime(known, evaluations) };
  });
}

/** Times of which none is much longer than the others of its size. */
function capped(times: readonly Time[]): Time[] {
  const sizes = new Set(times.map(({ size }) => size));
  const secondsOf = (size: number) => times.filter((time) => time.size === size).map(({ seconds }) => seconds);
  const most = new Map([...sizes].map((size) => [size, CAP * median(secondsOf(size))]));
  return times.map((time) => ({ ...time, seconds: Math.min(time.seconds, most.get(time.size) ?? Infinity) }));
}

/**
 * The host's cost: the line of least squares through gaps after batches of several sizes. Gaps after batches of one size say nothing of further
 * evaluations, so both parts change by one factor.
 */
function hostCost(known: HostCost, gaps: readonly Time[]): HostCost {
  if (gaps.length < MIN_TIMES) return {};
  const further = gaps.map(({ size }) => size - 1);
  const times = gaps.map(({ seconds }) => seconds);
  if (Math.max(...further) - Math.min(...further) < MIN_SPREAD) {
    const { hostSeconds = 0, hostSecondsEach } = known;
    const isKnown = gaps.some(({ expected }) => expected > 0);
    if (!isKnown) return mean(further) === 0 ? { hostSeconds: mean(times), hostSecondsEach: undefined } : {};
    const factor = ratioOf(gaps);
    return { hostSeconds: factor * hostSeconds, hostSecondsEach: hostSecondsEach && factor * hostSecondsEach };
  }
  const [meanTime, meanFurther] = [mean(times), mean(further)];
  const covariance = sum(times.map((seconds, k) => (further[k] - meanFurther) * (seconds - meanTime)));
  const slope = covariance / sum(further.map((one) => (one - meanFurther) ** 2));
  // The first evaluation costs what a further one does, and more.
  const hostSecondsEach = Math.min(Math.max(0, slope), meanTime / (meanFurther + 1));
  return { hostSeconds: meanTime - hostSecondsEach * meanFurther, hostSecondsEach };
}
