import type { HostCost } from '../run/simulate.js';
import { measuredHostSeconds } from './hostTime.js';
import { agree, areSteady, inOrder, typical, UNMEASURED, type Measurements } from './measurements.js';

/** Times of one kind that say something. */
const MIN_TIMES = 3;
/** Gaps between batches that say something. */
const MIN_GAPS = 8;
/** A time counts as at most so many times the middle one: other work of the process may lie in it. */
const LONGEST = 4;
/** How far a run moves what is known. */
const WEIGHT = 0.3;
/** Share by which a time may differ from what is known: small differences are no reason to write a file. */
const ALIKE = 0.05;

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
  const hostSeconds = others.hostSeconds ?? (await measuredHostSeconds(sampleSize));
  const seconds = typical(times);
  if (devices > 1) return { points, ...others, hostSeconds, aloneSeconds: seconds };
  const further = points.filter((one) => one.rows !== rows);
  return { ...others, points: inOrder([...further, { rows, seconds, steady: true }]), hostSeconds };
}

type Point = Measurements['points'][number];

/** A batch of a run on one device. */
export interface TimedBatch {
  /** Milliseconds on one clock. */
  readonly begin: number;
  readonly end: number;
  /** Rows, those that pad it to its bucket included. */
  readonly rows: number;
  readonly evaluations: number;
}

/** Seconds of a batch. */
export function batchSeconds({ begin, end }: TimedBatch): number {
  return (end - begin) / 1000;
}

/**
 * Corrects what is known of a device by the batches of a run that had it to itself: a machine may have been busy when it was measured, or its
 * host slower than a measurement of one pass over memory tells. Sizes of batches that the run did not have change as much as the others: if they
 * stayed, a machine that is busy for a while would make one sampler look better than another.
 * @param batches in the order in which they ran
 * @param showsHost whether nothing but the sampler's work lies between them
 * @returns `known` itself if nothing changes
 */
export function withRunTimes(known: Measurements, batches: readonly TimedBatch[], showsHost: boolean): Measurements {
  const seen = new Map<Point, Point>();
  for (const point of known.points) {
    const times = batches.filter(({ rows }) => rows === point.rows).map(batchSeconds);
    if (times.length < MIN_TIMES || !areSteady(times)) continue;
    const time = mean(times);
    const steady = point.steady || agree(point.seconds, time);
    seen.set(point, { ...point, seconds: adjusted(point.seconds, time), steady });
  }
  const changes = [...seen].map(([before, { seconds }]) => Math.log(seconds / before.seconds));
  const ratio = changes.length === 0 ? 1 : Math.exp(sum(changes) / changes.length);
  const points = known.points.map((point) => seen.get(point) ?? { ...point, seconds: ratio * point.seconds });
  const { hostSeconds, hostSecondsEach } = showsHost ? withGaps(known, batches) : known;
  const isSame =
    points.every(
      ({ seconds, steady }, k) => seconds === known.points[k].seconds && steady === known.points[k].steady,
    ) &&
    hostSeconds === known.hostSeconds &&
    hostSecondsEach === known.hostSecondsEach;
  return isSame ? known : { ...known, points, hostSeconds, hostSecondsEach };
}

/** The host's cost as the gaps between batches show it: of one evaluation, or of further ones where batches have several. */
function withGaps({ hostSeconds = 0, hostSecondsEach }: HostCost, batches: readonly TimedBatch[]): HostCost {
  // What a batch returned is worked on before the next one begins.
  const gaps = batches.slice(1).map(({ begin }, k) => {
    const { end, evaluations } = batches[k];
    return { seconds: Math.max(0, begin - end) / 1000, evaluations };
  });
  const known = { hostSeconds, hostSecondsEach };
  if (gaps.length < MIN_GAPS) return known;
  const middle = median(gaps.map(({ seconds, evaluations }) => seconds / evaluations));
  const mean = sum(gaps.map((gap) => Math.min(gap.seconds, LONGEST * middle * gap.evaluations))) / gaps.length;
  const further = sum(gaps.map(({ evaluations }) => evaluations - 1)) / gaps.length;
  if (further === 0) return { ...known, hostSeconds: adjusted(hostSeconds, mean) };
  // What few further evaluations add is lost in the rest.
  if (further < 1) return known;
  const each = Math.max(0, mean - hostSeconds) / further;
  return { ...known, hostSecondsEach: hostSecondsEach === undefined ? each : adjusted(hostSecondsEach, each) };
}

/** What is known, moved towards what a run shows. @returns `known` itself if they are about the same */
function adjusted(known: number, seen: number): number {
  return Math.abs(seen - known) <= ALIKE * known ? known : known + WEIGHT * (seen - known);
}

/** The mean of times, of which none counts as much longer than the others. */
function mean(times: readonly number[]): number {
  const most = LONGEST * median(times);
  return sum(times.map((time) => Math.min(time, most))) / times.length;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
