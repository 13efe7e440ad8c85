import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import type { Batch, ConditioningId, Engine } from '../engine/engine.js';
import { makeFolder } from '../hub/makeFolder.js';
import { parseCurve, rowsThatPay, unmeasuredBuckets, type LatencyCurve } from './curve.js';
import type { Machine } from '../run/simulate.js';
import { weighted } from '../tensor/operations.js';
import { float32, sizeOf } from '../tensor/tensor.js';
import { version } from '../version.js';
import { latentDims, type ModelFolder } from '../model/modelFolder.js';

/** How long a size is measured in a round, and in how many runs at most; a machine just woken takes its time to get up to speed. */
const ROUNDS = 3;
const MEASURE_SECONDS = 0.15;
const MOST_RUNS = 12;
/** Where the last round takes so many times what the first did, or the other way around, the next process measures again. */
const STEADY = 1.3;
/** A batch that takes as long is run once. */
const SLOW_SECONDS = 2;
/** Further rows cost at least this share each of what those before did. */
const PROPORTIONAL = 0.6;
/** What an evaluation costs on the host, in passes over a sample: its step, the correction, copies. */
const HOST_PASSES = 4;
const HOST_RUNS = 400;

/** Curves by what they depend on. */
export type Curves = Map<string, LatencyCurve>;

/** What a measurement is made with. */
export interface CalibrationInput {
  readonly model: ModelFolder;
  readonly engine: Engine;
  /** What tells engines of the same devices apart: threads, processes, precision. */
  readonly variant: string;
  /** What was measured before, for those who cannot keep it in a file. */
  readonly curves: Curves;
  readonly unetOutput: string;
  /** Of the image, in pixels. */
  readonly width: number;
  readonly height: number;
  /** Registered inputs of an evaluation. */
  readonly conditioning: readonly ConditioningId[];
  /** Images that are drawn at once. */
  readonly images: number;
}

/**
 * The machine as the planner sees it: each device's latency by rows, measured once for a model, size of image, set of devices and
 * version of this package, and kept in the user's cache.
 * @param fresh whether to measure in any case
 * @param signal gives up measuring
 */
export async function calibrate(
  input: CalibrationInput,
  { fresh = false, signal }: { readonly fresh?: boolean; readonly signal?: AbortSignal } = {},
): Promise<Machine> {
  const known = fresh ? undefined : await calibrated(input);
  if (known) return known;
  const measured = await measure(input, signal);
  const { curve, steady } = measured;
  // Of a network that is no file here nothing is kept.
  const key = await keyOf(input).catch(() => undefined);
  if (key !== undefined) {
    input.curves.set(key, curve);
    // One that was measured beside other work takes no steady one's place.
    if (steady || !(await curveIn(fileOf(key)))) await keep(fileOf(key), measured, input);
  }
  return machineWith(curve, input);
}

/** The machine, if it has been measured before; whatever keeps that from being found is no matter. */
export async function calibrated(input: CalibrationInput): Promise<Machine | undefined> {
  const key = await keyOf(input).catch(() => undefined);
  if (key === undefined) return undefined;
  const curve = input.curves.get(key) ?? (await curveIn(fileOf(key)));
  if (curve) input.curves.set(key, curve);
  return curve && machineWith(curve, input);
}

/** The machine to go by where it has not been measured; undefined without buckets. */
export function unmeasured(input: CalibrationInput): Machine | undefined {
  const buckets = input.engine.buckets.filter((rows) => rows >= input.conditioning.length);
  return buckets.length === 0 ? undefined : machineWith(unmeasuredBuckets(buckets), input);
}

function fileOf(key: string): string {
  return join(cacheFolder(), `${key}.json`);
}

/** A curve that was kept; one that is not there, cannot be read or was measured beside other work is measured again. */
async function curveIn(file: string): Promise<LatencyCurve | undefined> {
  try {
    const content = JSON.parse(await readFile(file, 'utf8')) as { readonly steady?: boolean };
    return content.steady === false ? undefined : parseCurve(content, file);
  } catch {
    return undefined;
  }
}

function machineWith(curve: LatencyCurve, input: CalibrationInput): Machine {
  const { engine, conditioning, images } = input;
  return {
    devices: Array.from({ length: engine.slots }, () => curve),
    rowsPerEvaluation: conditioning.length,
    images,
    maxRows: Math.min(engine.maxRows, Math.max(conditioning.length, rowsThatPay(curve))),
  };
}

/** Seconds for the passes over memory that a step, its correction and the test for convergence come to. */
function hostSeconds(size: number): number {
  const x = new Float32Array(size).fill(1);
  const times = Array.from({ length: HOST_RUNS }, () => {
    const start = performance.now();
    weighted(0.5, x, 0.5, x);
    return (performance.now() - start) / 1000;
  });
  // The first ones are not compiled yet, and whatever else goes on makes them slower by turns.
  return HOST_PASSES * times.sort((a, b) => a - b)[Math.floor(HOST_RUNS / 20)];
}

interface Measured {
  readonly curve: LatencyCurve;
  /** Whether the first round and the last agree; else others were at work. */
  readonly steady: boolean;
}

/** Measures all devices at once, as they will work, and one alone, as the serial sampler has it; the slowest counts. */
async function measure(input: CalibrationInput, signal: AbortSignal | undefined): Promise<Measured> {
  const { engine, conditioning } = input;
  const buckets = engine.buckets.filter((bucket) => bucket >= conditioning.length);
  const each = conditioning.length;
  // An evaluation that no bucket holds runs all the same.
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
    const runs = Math.min(MOST_RUNS, Math.ceil(MEASURE_SECONDS / times[0]));
    while (times.length < runs) times.push(await once(batch, devices));
    return times;
  };
  let dear = 0;
  for (const rows of sizes) {
    const batch = batchOf(input, Math.floor(rows / conditioning.length));
    // The first run opens the bucket; where there is nothing to open and it takes long by itself, it counts.
    const first = await once(batch);
    const slow = engine.buckets.length === 0 && first > SLOW_SECONDS;
    const times = slow ? [first] : await round(batch);
    // Memory may not have sufficed.
    if (timed.length > 0 && engine.buckets.length > 0 && !engine.buckets.includes(rows)) break;
    const before = timed.at(-1);
    timed.push({ rows, times, batch });
    // Where rows take turns, larger batches have nothing more to tell, and a bucket costs memory; one may have had bad luck.
    dear =
      before && isDear({ rows, seconds: usual(times) }, { ...before, seconds: usual(before.times) }) ? dear + 1 : 0;
    if (dear === (engine.buckets.length > 0 ? 2 : 1)) break;
  }
  const firsts = timed.map(({ times }) => usual(times));
  let lasts = firsts;
  for (let k = 1; k < ROUNDS; k++) {
    lasts = [];
    for (const { times, batch } of timed) {
      const more = times[0] <= SLOW_SECONDS ? await round(batch) : times.slice();
      lasts.push(usual(more));
      times.push(...more);
    }
  }
  const seconds = timed.map(({ times }) => usual(times));
  // A size that took longer than a larger one had bad luck.
  const points = timed.map(({ rows }, k) => ({ rows, seconds: Math.min(...seconds.slice(k)) }));
  const size = sizeOf(latentDims(input.model, input));
  // By itself none takes longer than beside the others.
  const alone = engine.slots > 1 ? usual(await round(timed[0].batch, 1)) : undefined;
  const aloneSeconds = alone && Math.min(alone, points[0].seconds);
  const curve = { points, padded: engine.buckets.length > 0, hostSeconds: hostSeconds(size), aloneSeconds };
  const total = (each: readonly number[]) => each.reduce((sum, value) => sum + value, 0);
  return { curve, steady: Math.abs(Math.log(total(lasts) / total(firsts))) < Math.log(STEADY) };
}

/** Whether the rows that a larger batch has more cost nearly what those of the smaller one do. */
function isDear(larger: LatencyCurve['points'][number], smaller: LatencyCurve['points'][number]): boolean {
  const further = (larger.seconds - smaller.seconds) / (larger.rows - smaller.rows);
  return further > (PROPORTIONAL * smaller.seconds) / smaller.rows;
}

/** Whatever else the machine does only makes it slower. */
function usual(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 4)];
}

function batchOf({ model, width, height, unetOutput, conditioning }: CalibrationInput, count: number): Batch {
  const dims = latentDims(model, { width, height });
  return Array.from({ length: count }, () => ({
    graph: 'unet',
    output: unetOutput,
    inputs: { sample: float32(new Float32Array(sizeOf(dims)), dims), timestep: float32(Float32Array.of(500), []) },
    conditioning,
    combine: conditioning.length === 2 ? 1 : undefined,
    sums: conditioning.length <= 2 ? { input: 'sample', weights: [[1, 0]] } : undefined,
  }));
}

/** Writes a curve to the cache atomically, because two runs may measure at the same time. */
async function keep(file: string, { curve, steady }: Measured, { model, engine }: CalibrationInput): Promise<void> {
  const content = { model: model.name, device: engine.device, version: version(), steady, ...curve };
  try {
    await makeFolder(cacheFolder());
    await writeFileAtomic(file, `${JSON.stringify(content, undefined, 2)}\n`);
  } catch {
    // Without a cache the next run measures again.
  }
}

async function keyOf({ model, engine, variant, width, height, conditioning }: CalibrationInput): Promise<string> {
  const unet = model.graphs.unet ?? '';
  const { size, mtimeMs } = await stat(unet);
  const { buckets, slots, device } = engine;
  const key = [version(), unet, size, mtimeMs, device, buckets, slots, variant, width, height, conditioning.length];
  return createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 32);
}

function cacheFolder(): string {
  const given = process.env.XDG_CACHE_HOME ?? '';
  // By the XDG base directory specification relative paths count for nothing.
  return join(isAbsolute(given) ? given : join(homedir(), '.cache'), 'srds', 'curves');
}
