import { forecastPicard, forecastSerial, forecastSrds, type Machine } from '../planner/forecast.js';
import { isMultistep } from '../solver/solver.js';
import type { RgbImage } from '../image/image.js';
import type { Settings } from '../pipeline/options.js';
import type { Pipeline } from '../pipeline/pipeline.js';
import type { GeneratedImage } from '../pipeline/result.js';
import type { BatchCounter } from './batchCounter.js';
import { BENCHMARK_CASES, type BenchmarkCase } from './cases.js';
import { differenceOf, type Difference } from './difference.js';
import { promptOf } from './prompts.js';

/** What to measure. */
export interface BenchmarkOptions {
  /** Numbers of steps. */
  readonly steps: readonly number[];
  readonly cases: readonly BenchmarkCase[];
  /** Number of prompts. Prompt k has seed k. */
  readonly prompts: number;
  /** Guidance scale; default 5. */
  readonly guidance?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with a description of each measurement that starts. */
  readonly onProgress?: (what: string) => void;
}

/** Measurements of one image. */
export interface Measurement {
  readonly steps: number;
  readonly caseName: BenchmarkCase;
  /** Sampler that ran. `auto` chooses it. */
  readonly sampler: string;
  /** Number of blocks of srds, window of the other samplers; null without a window. */
  readonly parts: number | null;
  readonly prompt: string;
  readonly seed: number;
  /** Seconds from the prompt to the image. */
  readonly seconds: number;
  /** Seconds of sampling. */
  readonly sampling: number;
  /** Share of sampling and decoding that the devices spent in the networks. */
  readonly inside: number;
  /** Evaluations on the critical path. */
  readonly critical: number;
  /** All evaluations. */
  readonly total: number;
  readonly iterations: number;
  readonly residuals: readonly number[];
  /** Difference to the serial image. */
  readonly error: Difference;
  /** Number of batches by their padded rows. */
  readonly batches: Readonly<Record<number, number>>;
  /** Seconds of sampling that the planner predicts from latency curves; null for samplers that it cannot predict. */
  readonly predicted: number | null;
}

/**
 * Generates each prompt with each case in turn on one pipeline. A first round warms up and does not count.
 * @param counter counts the pipeline's batches
 * @param machine latency curves of the pipeline's devices
 * @example
 * const counter = new BatchCounter();
 * const pipeline = await Pipeline.open(BUNDLED_MODEL, { onBatch: counter.count });
 * const machine = await pipeline.machine({ prompt: '' });
 * const measurements = await benchmark(pipeline, counter, machine, { steps: [25], cases: ['serial', 'srds'], prompts: 4 });
 */
export async function benchmark(
  pipeline: Pipeline,
  counter: BatchCounter,
  machine: Machine,
  { steps: counts, cases, prompts, guidance, signal, onProgress }: BenchmarkOptions,
): Promise<Measurement[]> {
  const measurements: Measurement[] = [];
  const batch = Math.max(16, Math.floor(Math.min(64, machine.maxRows) / machine.rowsPerEvaluation));
  for (const steps of counts) {
    for (let round = -1; round < prompts; round++) {
      const [prompt, seed] = [promptOf(Math.max(0, round)), Math.max(0, round)];
      let reference: RgbImage | undefined;
      for (const caseName of [...new Set<BenchmarkCase>(['serial', ...cases])]) {
        signal?.throwIfAborted();
        onProgress?.(`${steps} steps, ${round < 0 ? 'warming up' : `prompt ${round + 1} of ${prompts}`}, ${caseName}`);
        const options = {
          ...BENCHMARK_CASES[caseName](steps, batch),
          prompt,
          seed,
          steps,
          guidance,
          previews: false,
          signal,
        };
        counter.reset();
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
          caseName,
          sampler,
          parts: sampler === 'srds' ? partition.length : (window ?? null),
          prompt,
          seed,
          seconds: spent,
          sampling: seconds.sample,
          inside: counter.seconds / pipeline.engine.slots / (seconds.sample + seconds.decode),
          ...countsOf(image),
          error: differenceOf(image.rgb, reference),
          batches: counter.batches,
          predicted: predictionFor(settings, machine),
        });
      }
    }
  }
  return measurements;
}

function countsOf({ evaluations: { critical, total }, iterations, residuals }: GeneratedImage) {
  return { critical, total, iterations, residuals };
}

/** Seconds of sampling that the planner predicts; null for samplers that it cannot predict. */
function predictionFor(settings: Settings, machine: Machine): number | null {
  const { sampler, grid, method, partition, window } = settings;
  const each = isMultistep(method) ? 1 : method.evaluationsPerStep;
  switch (sampler) {
    case 'serial':
      return forecastSerial({ steps: grid.length, evaluationsPerStep: each }, machine).seconds;
    case 'srds':
      return forecastSrds(partition, each, machine, settings).seconds;
    case 'picard':
      return forecastPicard(grid.length, window ?? grid.length, machine, settings).seconds;
    default:
      return null;
  }
}
