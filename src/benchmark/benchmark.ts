import type { BatchReport } from '../engine/batcher.js';
import { forecastPicard, forecastSerial, forecastSrds, type Machine } from '../planner/forecast.js';

import { isMultistep } from '../solver/solver.js';
import { maxAbsoluteDifference, meanAbsoluteDifference } from '../tensor/operations.js';
import type { RgbImage } from '../image/image.js';
import type { GenerateOptions, Settings } from '../pipeline/options.js';
import type { Pipeline } from '../pipeline/pipeline.js';
import type { GeneratedImage } from '../pipeline/result.js';

/** What is compared, by name: options of `generate` for a number of steps. */
export const BENCHMARK_CASES = {
  serial: () => ({ sampler: 'serial' }),
  srds: () => ({ sampler: 'srds' }),
  /** The paper's blocks and correction. */
  'srds-paper': (steps) => ({ sampler: 'srds', blocks: Math.round(Math.sqrt(steps)), correction: 'parareal' }),
  /** The same with barriers between iterations. */
  'srds-vanilla': (steps) => ({
    sampler: 'srds',
    blocks: Math.round(Math.sqrt(steps)),
    correction: 'parareal',
    pipelined: false,
  }),
  picard: (steps, bucket) => ({ sampler: 'picard', window: Math.min(steps, bucket) }),
  paradigms: (steps, bucket) => ({ sampler: 'paradigms', window: Math.min(steps, bucket) }),
  parataa: (steps, bucket) => ({ sampler: 'parataa', window: Math.min(steps, bucket) }),
  auto: () => ({ sampler: 'auto' }),
} as const satisfies Record<string, (steps: number, bucket: number) => Partial<GenerateOptions>>;

export type BenchmarkCase = keyof typeof BENCHMARK_CASES;

/** What to measure. */
export interface BenchmarkOptions {
  readonly steps: readonly number[];
  readonly cases: readonly BenchmarkCase[];
  /** Prompts of the list below, the seed of each its number. */
  readonly prompts: number;
  /** Guidance scale; default 5. */
  readonly guidance?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (what: string) => void;
}

/** One image. */
export interface Measurement {
  readonly steps: number;
  readonly caseName: BenchmarkCase;
  /** What was run, which `auto` had to choose. */
  readonly sampler: string;
  /** Blocks of srds, window of the others. */
  readonly parts: number | null;
  readonly prompt: string;
  readonly seed: number;
  /** From the prompt to the image, in seconds. */
  readonly seconds: number;
  /** Share of sampling and decoding inside the networks. */
  readonly inside: number;
  readonly critical: number;
  readonly total: number;
  readonly iterations: number;
  readonly residuals: readonly number[];
  /** Absolute difference of the 8-bit image to the serial one: mean, and of the worst value. */
  readonly error: { readonly mean: number; readonly max: number };
  /** Number of batches by their rows. */
  readonly batches: Readonly<Record<number, number>>;
  /** Seconds of sampling as planned from the latency curve; null where the planner knows nothing of the sampler. */
  readonly predicted: number | null;
}

/** What the same serial sampler differs by where another size of batch computes it. */
export interface NoiseFloor {
  readonly steps: number;
  readonly mean: number;
  readonly max: number;
  readonly prompts: number;
}

/** Draws each prompt with each caseName in turn, on one pipeline, after a first round that is not counted. */
export async function benchmark(
  pipeline: Pipeline,
  watch: BatchWatch,
  machine: Machine,
  { steps: counts, cases, prompts, guidance, signal, onProgress }: BenchmarkOptions,
): Promise<Measurement[]> {
  const measurements: Measurement[] = [];
  const bucket = Math.max(16, Math.floor(Math.min(64, machine.maxRows) / machine.rowsPerEvaluation));
  for (const steps of counts) {
    for (let round = -1; round < prompts; round++) {
      const [prompt, seed] = [promptOf(Math.max(0, round)), Math.max(0, round)];
      let reference: RgbImage | undefined;
      for (const caseName of [...new Set<BenchmarkCase>(['serial', ...cases])]) {
        signal?.throwIfAborted();
        onProgress?.(`${steps} steps, ${round < 0 ? 'warming up' : `prompt ${round + 1} of ${prompts}`}, ${caseName}`);
        const options = {
          ...BENCHMARK_CASES[caseName](steps, bucket),
          prompt,
          seed,
          steps,
          guidance,
          previews: false,
          signal,
        };
        watch.reset();
        const start = performance.now();
        const { images, settings, seconds } = await pipeline.generate(options).result;
        const spent = (performance.now() - start) / 1000;
        const [image] = images;
        if (!image.rgb) throw new Error('an image was not finished');
        if (caseName === 'serial') reference = image.rgb;
        if (round < 0 || !reference) continue;
        const { sampler, partition, window } = settings;
        measurements.push({
          steps,
          caseName: caseName,
          sampler,
          parts: sampler === 'srds' ? partition.length : (window ?? null),
          prompt,
          seed,
          seconds: spent,
          inside: watch.seconds / pipeline.engine.slots / (seconds.sample + seconds.decode),
          ...countsOf(image),
          error: differenceOf(image.rgb, reference),
          batches: watch.batches,
          predicted: predictionFor(settings, machine),
        });
      }
    }
  }
  return measurements;
}

/** The serial sampler on two pipelines whose batches differ in size. */
export async function noiseFloor(
  a: Pipeline,
  b: Pipeline,
  { steps: counts, guidance, signal }: BenchmarkOptions,
  prompts: number,
): Promise<NoiseFloor[]> {
  const floors: NoiseFloor[] = [];
  for (const steps of counts) {
    const errors: { mean: number; max: number }[] = [];
    for (let seed = 0; seed < prompts; seed++) {
      signal?.throwIfAborted();
      const options = {
        prompt: promptOf(seed),
        seed,
        steps,
        guidance,
        sampler: 'serial',
        previews: false,
        signal,
      } as const;
      const [one, other] = [await a.generate(options).result, await b.generate(options).result];
      const [x, y] = [one.images[0].rgb, other.images[0].rgb];
      signal?.throwIfAborted();
      if (x && y) errors.push(differenceOf(x, y));
    }
    const mean = errors.reduce((sum, error) => sum + error.mean, 0) / errors.length;
    floors.push({ steps, mean, max: Math.max(...errors.map((error) => error.mean)), prompts });
  }
  return floors;
}

/** Counts what a pipeline's batches come to; give `report` to it as `onBatch`. */
export class BatchWatch {
  seconds = 0;
  batches: Record<number, number> = {};

  readonly report = ({ graph, paddedRows, networkMs }: BatchReport): void => {
    if (!graph.startsWith('text_encoder')) this.seconds += networkMs / 1000;
    if (graph === 'unet') this.batches[paddedRows] = (this.batches[paddedRows] ?? 0) + 1;
  };

  reset(): void {
    this.seconds = 0;
    this.batches = {};
  }
}

function countsOf({ evaluations: { critical, total }, iterations, residuals }: GeneratedImage) {
  return { critical, total, iterations, residuals };
}

function differenceOf(a: RgbImage, b: RgbImage): { readonly mean: number; readonly max: number } {
  return { mean: meanAbsoluteDifference(a.data, b.data), max: maxAbsoluteDifference(a.data, b.data) };
}

/** Seconds of sampling as planned; null where the planner knows nothing of the sampler. */
function predictionFor(settings: Settings, machine: Machine): number | null {
  const { sampler, grid, method, partition, window, pipelined } = settings;
  const each = isMultistep(method) ? 1 : method.evaluationsPerStep;
  switch (sampler) {
    case 'serial':
      return forecastSerial({ steps: grid.length, evaluationsPerStep: each }, machine).seconds;
    case 'srds':
      return pipelined ? forecastSrds(partition, each, machine, settings).seconds : null;
    case 'picard':
      return forecastPicard(grid.length, window ?? grid.length, machine, settings).seconds;
    default:
      return null;
  }
}

const SHAPES = ['sphere', 'cube', 'cylinder', 'cone', 'torus', 'ball'] as const;
const COLOURS = ['red', 'blue', 'green', 'yellow', 'purple', 'cyan', 'orange', 'white', 'black'] as const;
const FLOORS = ['on a wooden floor', 'on grass', 'on the beach', 'on a white floor', 'on a checkered floor'] as const;
const SKIES = ['at night', 'at sunset', 'under a clear sky', 'on a cloudy day'] as const;

/** Prompts that the bundled model understands, all different. */
export function promptOf(index: number): string {
  const pick = <Value>(values: readonly Value[], step: number): Value => values[(index * step) % values.length];
  const one = `a ${pick(COLOURS, 1)} ${pick(SHAPES, 5)}`;
  const two = index % 3 === 0 ? '' : ` beside a small ${pick(COLOURS, 4)} ${pick(SHAPES, 1)}`;
  return `${one}${two} ${pick(FLOORS, 2)} ${pick(SKIES, 3)}`;
}
