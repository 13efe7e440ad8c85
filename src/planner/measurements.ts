import { z } from 'zod';
import type { HostCost } from '../run/simulate.js';
import type { LatencyCurve } from './curve.js';

/** Ratio of two measurements of the same batch up to which they agree. */
const STEADY = 1.3;

const point = z.object({
  rows: z.int().positive(),
  seconds: z.number().positive(),
  steady: z.boolean().default(true),
});

/** Schema of measurements in a file. */
export const measurementsFile = z
  .object({
    points: z.array(point),
    hostSeconds: z.number().nonnegative().optional(),
    hostSecondsEach: z.number().nonnegative().optional(),
    aloneSeconds: z.number().positive().optional(),
    complete: z.boolean().default(true),
    limit: z.int().positive().optional(),
    decodeSeconds: z.number().positive().optional(),
  })
  .refine((measured) => !isEmpty(measured));

/** Seconds of a batch by its rows, so far. */
export interface Measurements extends HostCost {
  /**
   * Ascending in rows. A point is steady if two measurements agree: one alone may be of a machine that was busy with other work.
   */
  readonly points: readonly { readonly rows: number; readonly seconds: number; readonly steady: boolean }[];
  /** Seconds of one evaluation while the other devices are idle. */
  readonly aloneSeconds?: number | undefined;
  /** Whether larger batches have nothing to add, or memory does not suffice for them. */
  readonly complete: boolean;
  /** Rows that memory sufficed for, where larger batches may have something to add. */
  readonly limit?: number | undefined;
  /** Seconds of decoding an image. */
  readonly decodeSeconds?: number | undefined;
}

/** Before anything is known. */
export const UNMEASURED: Measurements = { points: [], complete: false };

/** Whether measurements say nothing. */
export function isEmpty({
  points,
  aloneSeconds,
  decodeSeconds,
}: Pick<Measurements, 'points' | 'aloneSeconds' | 'decodeSeconds'>): boolean {
  return points.length === 0 && aloneSeconds === undefined && decodeSeconds === undefined;
}

/** A curve for the planner; undefined before the first point. */
export function curveOf(
  { points, hostSeconds, hostSecondsEach, aloneSeconds }: Measurements,
  padded: boolean,
): LatencyCurve | undefined {
  if (points.length === 0) return undefined;
  // A larger size bounds the time of a smaller one from above.
  const bounded = points.map(({ rows }, k) => ({
    rows,
    seconds: Math.min(...points.slice(k).map((one) => one.seconds)),
  }));
  const alone = aloneSeconds && Math.min(aloneSeconds, (bounded.find(({ rows }) => rows > 1) ?? bounded[0]).seconds);
  return { points: bounded, padded, hostSeconds, hostSecondsEach, aloneSeconds: alone };
}

/** Points by their rows. */
export function inOrder(points: Measurements['points']): Measurements['points'] {
  return points.toSorted((a, b) => a.rows - b.rows);
}

/** Whether two measurements of the same batch agree. */
export function agree(a: number, b: number): boolean {
  return Math.abs(Math.log(a / b)) < Math.log(STEADY);
}

/** Whether half of the times are about as short as a quarter of them. */
export function areSteady(times: readonly number[]): boolean {
  return agree(typical(times), median(times));
}

/** The middle one, or the larger of two. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** The first quartile: other work on the machine only adds time. */
export function typical(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 4)];
}
