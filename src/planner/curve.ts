import { z } from 'zod';
import { issueOf, SrdsError } from '../errors.js';

/** How long a batch takes by its rows, as measured on one device. */
export interface LatencyCurve {
  /** Ascending in rows, one at least. */
  readonly points: readonly { readonly rows: number; readonly seconds: number }[];
  /** Whether the points are buckets, to which batches are filled up; else latencies lie on the lines between them. */
  readonly padded: boolean;
  /** What each evaluation of a batch adds on the host, where samples are stepped one after the other; default 0. */
  readonly hostSeconds?: number | undefined;
  /** The smallest batch while the other devices rest, which may share a processor with this one; default: as while they work. */
  readonly aloneSeconds?: number | undefined;
}

/**
 * Buckets where nothing was measured, as a small model has them on a data centre GPU: a batch of 32 rows takes a third longer than
 * one of 2 (docs/benchmarks.md).
 */
export function unmeasuredBuckets(buckets: readonly number[]): LatencyCurve {
  return { points: buckets.map((rows) => ({ rows, seconds: 1 + rows / 80 })), padded: true };
}

const MOST_ROWS = 65536;
const MOST_SECONDS = 86400;

/** What a file with a curve holds; more is left unread. */
const curveFile = z.object({
  padded: z.boolean().default(false),
  hostSeconds: z.number().nonnegative().max(MOST_SECONDS).optional(),
  aloneSeconds: z.number().positive().max(MOST_SECONDS).optional(),
  points: z
    .array(z.object({ rows: z.int().positive().max(MOST_ROWS), seconds: z.number().positive().max(MOST_SECONDS) }))
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

/** Seconds that a batch of so many rows takes; of more rows than the largest bucket, in parts. */
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
  // Beyond the last point the line through the last two goes on; a single point is all there is for a row.
  const at = above < 0 ? points.length - 1 : above;
  const before = points[at - 1] as LatencyCurve['points'][number] | undefined;
  if (!before) return (last.seconds * rows) / last.rows;
  const slope = Math.max(0, (points[at].seconds - before.seconds) / (points[at].rows - before.rows));
  return points[at].seconds + slope * (rows - points[at].rows);
}

/** Rows of the largest batch that pays: the fewest at which a row costs nearly the least. More of them only delay what is urgent. */
export function rowsThatPay({ points }: LatencyCurve): number {
  const each = points.map(({ rows, seconds }) => seconds / rows);
  const least = Math.min(...each);
  return points[each.findIndex((seconds) => seconds <= 1.05 * least)].rows;
}

/** Rows of the largest batch that takes hardly longer than the smallest: to split one as small over devices gains nothing. */
export function rowsNotWorthSplitting({ points }: LatencyCurve): number {
  return Math.max(...points.filter(({ seconds }) => seconds <= 1.1 * points[0].seconds).map(({ rows }) => rows));
}
