import { z } from 'zod';
import { issueOf, SrdsError } from '../errors.js';
import type { HostCost } from '../run/simulate.js';

/** Seconds of a batch by its rows, as measured on one device. */
export interface LatencyCurve extends HostCost {
  /** At least one, ascending in rows. */
  readonly points: readonly { readonly rows: number; readonly seconds: number }[];
  /** Whether batches are padded to the next point; otherwise latencies are interpolated linearly. */
  readonly padded: boolean;
  /** Seconds of one evaluation while the other devices are idle; default: as while they are busy. */
  readonly aloneSeconds?: number | undefined;
}

/**
 * A prior for buckets that were not measured, for a data centre GPU. Of a small network a batch of 32 rows takes a third longer than one of 2; a
 * large one fills the GPU with few rows (docs/benchmarks.md).
 * @param work of a row: the network's parameters times the positions of the latents
 */
export function unmeasuredBuckets(buckets: readonly number[], work: number): LatencyCurve {
  const row = Math.max(SMALL_ROW, work / FULL_WORK);
  return { points: buckets.map((rows) => ({ rows, seconds: 1 + rows * row })), padded: true };
}

/** Time of a row of a small network, relative to what a batch takes whatever its rows. */
const SMALL_ROW = 1 / 80;
/** Work of a row that takes as long as that. A row of Stable Diffusion 2.1 at 512x512 is 3.5e12, and batches gain up to about 12 rows. */
const FULL_WORK = 2e12;

const MAX_ROWS = 65536;
const MAX_SECONDS = 86400;

/** A file with a curve; other fields are ignored. */
const curveFile = z.object({
  padded: z.boolean().default(false),
  hostSeconds: z.number().nonnegative().max(MAX_SECONDS).optional(),
  hostSecondsEach: z.number().nonnegative().max(MAX_SECONDS).optional(),
  aloneSeconds: z.number().positive().max(MAX_SECONDS).optional(),
  points: z
    .array(z.object({ rows: z.int().positive().max(MAX_ROWS), seconds: z.number().positive().max(MAX_SECONDS) }))
    .min(1)
    .transform((points) => points.toSorted((a, b) => a.rows - b.rows))
    .refine((points) => points.every(({ rows }, i) => rows !== points[i - 1]?.rows), 'each number of rows once'),
});

/**
 * A curve from JSON: `{"padded": true, "points": [{"rows": 2, "seconds": 0.006}, ...]}`.
 * @param source for the error's message
 * @throws SrdsError INVALID_OPTION
 */
export function parseCurve(content: unknown, source: string): LatencyCurve {
  const { success, data, error } = curveFile.safeParse(content);
  if (success) return data;
  throw new SrdsError(
    'INVALID_OPTION',
    `a latency curve in ${source}`,
    issueOf(error.issues[0]),
    'give {"padded": true, "points": [{"rows": 2, "seconds": 0.006}, ...]}',
  );
}

/** Seconds of a batch of so many rows. A batch that exceeds the largest bucket runs in parts. */
export function latency({ points, padded }: LatencyCurve, rows: number): number {
  const last = points[points.length - 1];
  if (padded) {
    const whole = Math.floor(rows / last.rows);
    const rest = rows - whole * last.rows;
    const bucket = points.find((point) => point.rows >= rest) ?? last;
    return whole * last.seconds + (rest > 0 ? bucket.seconds : 0);
  }
  const above = points.findIndex((point) => point.rows >= rows);
  if (above === 0) return points[0].seconds;
  // Beyond the last point the line through the last two continues; a single point gives the cost of a row.
  const at = above < 0 ? points.length - 1 : above;
  const before = points[at - 1] as LatencyCurve['points'][number] | undefined;
  if (!before) return (last.seconds * rows) / last.rows;
  const slope = Math.max(0, (points[at].seconds - before.seconds) / (points[at].rows - before.rows));
  return points[at].seconds + slope * (rows - points[at].rows);
}

/**
 * Whether devices should share the rows of an evaluation: if a row on each takes clearly less time than all of them on one. A curve
 * without a single row says nothing of that.
 */
export function sharesRows(curve: LatencyCurve, rowsPerEvaluation: number, devices: number): boolean {
  if (devices < rowsPerEvaluation || rowsPerEvaluation === 1 || curve.points[0].rows > 1) return false;
  const together = Math.min(latency(curve, rowsPerEvaluation), curve.aloneSeconds ?? Infinity);
  return latency(curve, 1) < SHARED * together;
}

/** Largest share of an evaluation's time that each of its rows on a device of its own may take. */
const SHARED = 0.9;

/** Rows of the largest batch that is worth its time: the fewest with nearly the lowest cost per row. More only delay urgent rows. */
export function rowsThatPay({ points }: LatencyCurve): number {
  const each = points.map(({ rows, seconds }) => seconds / rows);
  const least = Math.min(...each);
  return points[each.findIndex((seconds) => seconds <= 1.05 * least)].rows;
}

/**
 * Rows of the largest batch that takes about as long as the smallest. Splitting a batch below that over devices gains nothing.
 * @param least rows of the smallest batch
 */
export function rowsNotWorthSplitting({ points }: LatencyCurve, least = 1): number {
  const able = points.filter(({ rows }) => rows >= least);
  const [smallest] = able;
  return Math.max(...able.filter(({ seconds }) => seconds <= 1.1 * smallest.seconds).map(({ rows }) => rows), 0);
}
