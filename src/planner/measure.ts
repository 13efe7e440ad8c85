import type { Batch, Engine, Evaluation } from '../engine/engine.js';
import { weighted } from '../tensor/operations.js';
import type { LatencyCurve } from './curve.js';

/** Rounds over all sizes. A machine that was idle needs some time to reach its speed. */
const ROUNDS = 3;
/** Time limit in seconds and maximum runs for one batch size in one round. */
const MEASURE_SECONDS = 0.15;
const MAX_RUNS = 12;
/** Ratio of the last round to the first beyond which a measurement is not steady. */
const STEADY = 1.3;
/** Seconds from which on a batch is run only once. */
const SLOW_SECONDS = 2;
/** Further rows are proportional if each costs at least this share of the rows before. */
const PROPORTIONAL = 0.6;
/** Host cost of an evaluation, in passes over a sample: its step, the correction, copies. */
const HOST_PASSES = 4;
const HOST_RUNS = 400;

/** A latency curve, and whether the machine was otherwise idle while it was measured. */
export interface MeasuredCurve {
  readonly curve: LatencyCurve;
  /** Whether the first round and the last agree. */
  readonly steady: boolean;
}

/** What to measure. */
export interface MeasureOptions {
  /** An evaluation of the network; batches are made of copies of it. */
  readonly evaluation: Evaluation;
  /** Numbers in a sample, for the cost on the host. */
  readonly sampleSize: number;
  /** Stops measuring. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Measures the seconds of batches by their rows on an engine: on all devices at once, as parallel samplers use them, and on one
 * device alone, as the serial sampler does. The slowest device counts.
 * @throws SrdsError ENGINE_FAILED if a device fails; the reason of an abort
 */
export async function measureCurve(engine: Engine, options: MeasureOptions): Promise<MeasuredCurve> {
  const { evaluation, sampleSize, signal } = options;
  const each = evaluation.conditioning?.length ?? 1;
  const buckets = engine.buckets.filter((bucket) => bucket >= each);
  // An evaluation that fits no bucket runs all the same.
  const sizes = engine.buckets.length === 0 ? [each, 2 * each, 4 * each] : buckets.length > 0 ? buckets : [each];
  const timed: { readonly rows: number; readonly times: number[]; readonly batch: Batch }[] = [];
  const once = async (batch: Batch, devices = engine.slots): Promise<number> => {
    signal?.throwIfAborted();
    const start = performance.now();
    await Promise.all(Array.from({ length: devices }, () => engine.run(batch)));
    return (performance.now() - start) / 1000;
  };
  const round = async (batch: Batch, devices = engine.slots): Promise<number[]> => {
    const times = [await once(batch, devices)];
    const runs = Math.min(MAX_RUNS, Math.ceil(MEASURE_SECONDS / times[0]));
    while (times.length < runs) times.push(await once(batch, devices));
    return times;
  };
  let proportional = 0;
  for (const rows of sizes) {
    const batch = Array.from({ length: Math.floor(rows / each) }, () => evaluation);
    // The first run opens the bucket. Without buckets it counts if it is slow.
    const first = await once(batch);
    const slow = engine.buckets.length === 0 && first > SLOW_SECONDS;
    const times = slow ? [first] : await round(batch);
    // The engine may have given up the bucket for want of memory.
    if (timed.length > 0 && engine.buckets.length > 0 && !engine.buckets.includes(rows)) break;
    const before = timed.at(-1);
    timed.push({ rows, times, batch });
    // Larger buckets cost memory and add nothing once rows cost the same each; one outlier is allowed.
    const isProportional =
      before !== undefined &&
      costsProportionally({ rows, seconds: typical(times) }, { ...before, seconds: typical(before.times) });
    proportional = isProportional ? proportional + 1 : 0;
    if (proportional === (engine.buckets.length > 0 ? 2 : 1)) break;
  }
  const firsts = timed.map(({ times }) => typical(times));
  let lasts = firsts;
  for (let k = 1; k < ROUNDS; k++) {
    lasts = [];
    for (const { times, batch } of timed) {
      const more = times[0] <= SLOW_SECONDS ? await round(batch) : times.slice();
      lasts.push(typical(more));
      times.push(...more);
    }
  }
  const seconds = timed.map(({ times }) => typical(times));
  // A larger size bounds the time of a smaller one from above.
  const points = timed.map(({ rows }, k) => ({ rows, seconds: Math.min(...seconds.slice(k)) }));
  const alone = engine.slots > 1 ? typical(await round(timed[0].batch, 1)) : undefined;
  const aloneSeconds = alone && Math.min(alone, points[0].seconds);
  const padded = engine.buckets.length > 0;
  const curve = { points, padded, hostSeconds: hostSeconds(sampleSize), aloneSeconds };
  const total = (times: readonly number[]) => times.reduce((sum, value) => sum + value, 0);
  return { curve, steady: Math.abs(Math.log(total(lasts) / total(firsts))) < Math.log(STEADY) };
}

/** Seconds for the passes over memory of a step, its correction and the test for convergence. */
function hostSeconds(size: number): number {
  const x = new Float32Array(size).fill(1);
  const times = Array.from({ length: HOST_RUNS }, () => {
    const start = performance.now();
    weighted(0.5, x, 0.5, x);
    return (performance.now() - start) / 1000;
  });
  // The first runs are not compiled yet, and other work on the machine slows some of the others.
  return HOST_PASSES * times.sort((a, b) => a - b)[Math.floor(HOST_RUNS / 20)];
}

/** Whether the additional rows of a larger batch cost nearly as much each as those of a smaller one. */
function costsProportionally(larger: LatencyCurve['points'][number], smaller: LatencyCurve['points'][number]): boolean {
  const further = (larger.seconds - smaller.seconds) / (larger.rows - smaller.rows);
  return further > (PROPORTIONAL * smaller.seconds) / smaller.rows;
}

/** The first quartile: other work on the machine only adds time. */
function typical(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 4)];
}
