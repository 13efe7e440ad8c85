import type { Pipeline } from '../pipeline/pipeline.js';
import type { BenchmarkOptions } from './benchmark.js';
import { differenceOf, type Difference } from './difference.js';
import { promptOf } from './prompts.js';

/** How far the serial sampler differs from itself if its batches have another size, in grey levels. */
export interface NoiseFloor {
  readonly steps: number;
  /** Mean absolute difference over all prompts. */
  readonly mean: number;
  /** Mean absolute difference of the worst prompt. */
  readonly max: number;
  /** Number of prompts. */
  readonly prompts: number;
}

/**
 * Measures the noise floor: compares the serial sampler on two pipelines whose batches differ in size.
 * @param prompts number of prompts
 */
export async function noiseFloor(
  a: Pipeline,
  b: Pipeline,
  { steps: counts, guidance, signal }: Pick<BenchmarkOptions, 'steps' | 'guidance' | 'signal'>,
  prompts: number,
): Promise<NoiseFloor[]> {
  const floors: NoiseFloor[] = [];
  for (const steps of counts) {
    const errors: Difference[] = [];
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
