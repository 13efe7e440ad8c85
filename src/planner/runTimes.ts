import { hostTime, type HostCost } from '../run/simulate.js';
import { measuredHostSeconds } from './hostTime.js';
import { areSteady, inOrder, typical, UNMEASURED, type Measurements } from './measurements.js';

/** Times of one kind that say something. */
const MIN_TIMES = 3;
/** Runs that say something together. */
export const RUNS = 3;
/** A time counts as at most so many times the middle one: other work of the machine may lie in it. */
const LONGEST = 4;
/** Share by which batches and the host may together differ from what is known. A correction changes plans, and is written to a file. */
const ALIKE = 0.1;
/** Further evaluations of the largest batch, at least, where gaps show what one evaluation costs and what each further one does. */
const VARIED = 3;

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
 * Corrects what is known of a device by the last runs that had it to themselves, if it is off by more than a tenth: a machine may have been busy
 * when it was measured, or its host slower than a measurement of one pass over memory tells. Sizes of batches that the runs did not have
 * change as much as the others on average: if they stayed, a machine that is busy for a while would make one sampler look better than another.
 * @param runs `RUNS` of them or more; the first one of a process, whose code is not compiled yet, says nothing of others
 * @returns `known` itself if it stands
 */
export function withRunTimes(known: Measurements, runs: readonly TimedRun[]): Measurements {
  const seen = new Map<number, number>();
  let [expected, found] = [0, 0];
  for (const { rows, seconds } of known.points) {
    const times = runs.flatMap(({ batches }) => {
      // The first batch of a size may open its bucket.
      return batches
        .filter((batch) => batch.rows === rows)
        .slice(1)
        .map(batchSeconds);
    });
    if (times.length < MIN_TIMES || !areSteady(times)) continue;
    const total = sum(capped(times));
    seen.set(rows, total / times.length);
    expected += times.length * seconds;
    found += total;
  }
  if (seen.size === 0) return known;
  const gaps = cappedGaps(runs);
  const host = sum(gaps.map(({ seconds }) => seconds));
  const expectedHost = sum(gaps.map(({ evaluations }) => hostTime(known, evaluations)));
  if (Math.abs(found + host - expected - expectedHost) <= ALIKE * (expected + expectedHost)) return known;
  const points = known.points.map((point) => {
    return { ...point, seconds: seen.get(point.rows) ?? (point.seconds * found) / expected };
  });
  return { ...known, points, ...hostCost(known, gaps, host / expectedHost) };
}

/** The host's time after a batch of so many evaluations. */
interface Gap {
  readonly seconds: number;
  readonly evaluations: number;
}

/** The gaps between the batches of runs that show what the host takes. */
function cappedGaps(runs: readonly TimedRun[]): Gap[] {
  const gaps = runs.flatMap(({ batches, showsHost }): Gap[] =>
    // What a batch returned is worked on before the next one begins.
    (showsHost ? batches.slice(1) : []).map(({ begin }, k) => {
      const { end, evaluations } = batches[k];
      return { seconds: Math.max(0, begin - end) / 1000, evaluations };
    }),
  );
  const each = capped(gaps.map(({ seconds, evaluations }) => seconds / evaluations));
  return gaps.map(({ evaluations }, k) => ({ seconds: each[k] * evaluations, evaluations }));
}

/**
 * The host's cost: the line of least squares through gaps of several sizes. Gaps after single evaluations say nothing of further ones, so both
 * change by one factor.
 */
function hostCost(known: HostCost, gaps: readonly Gap[], factor: number): HostCost {
  if (gaps.length < MIN_TIMES) return {};
  const further = gaps.map(({ evaluations }) => evaluations - 1);
  const mean = sum(gaps.map(({ seconds }) => seconds)) / gaps.length;
  const meanFurther = sum(further) / gaps.length;
  if (Math.max(...further) < VARIED || Math.min(...further) === Math.max(...further)) {
    const { hostSeconds = 0, hostSecondsEach } = known;
    if (hostSeconds === 0) return meanFurther === 0 ? { hostSeconds: mean } : {};
    return { hostSeconds: factor * hostSeconds, hostSecondsEach: hostSecondsEach && factor * hostSecondsEach };
  }
  const covariance = sum(gaps.map(({ seconds }, k) => (further[k] - meanFurther) * (seconds - mean)));
  const slope = covariance / sum(further.map((one) => (one - meanFurther) ** 2));
  const hostSecondsEach = Math.min(Math.max(0, slope), mean / meanFurther);
  return { hostSeconds: mean - hostSecondsEach * meanFurther, hostSecondsEach };
}

/** Times of which none is much longer than the middle one. */
function capped(times: readonly number[]): number[] {
  const most = LONGEST * median(times);
  return times.map((time) => Math.min(time, most));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
