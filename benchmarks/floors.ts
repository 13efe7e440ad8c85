/**
 * How far serial images differ from each other where only the size of their batches does, prompt by prompt: what no sampler can do better than.
 * `npm run bench:floors -- SEED ... [--steps 25,50,100 --device cuda --buckets 2,4,8,16,32 --guidance 5]`
 *
 * Seeds are those of `srds bench --tolerances`, which reports images far away from the serial one.
 */
import { parseArgs } from 'node:util';
import { Pipeline } from 'srds';
import { markdown, promptOf } from 'srds/benchmark';
import { parseDevices } from 'srds/engine';
import type { RgbImage } from 'srds/image';
import { meanAbsoluteDifference } from 'srds/tensor';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    steps: { type: 'string', default: '25,50,100' },
    device: { type: 'string', default: 'cuda' },
    buckets: { type: 'string', default: '2,4,8,16,32' },
    guidance: { type: 'string', default: '5' },
  },
});
const seeds = positionals.map(Number);
if (seeds.length === 0) throw new Error('give the seeds of some prompts');
const [counts, buckets] = [values.steps, values.buckets].map((list) => list.split(',').map(Number));
const devices = parseDevices(values.device);
if (devices === 'auto') throw new Error('name the devices');

/** [bucket][number of steps][seed] */
const images: RgbImage[][][] = [];
for (const bucket of buckets) {
  const pipeline = await Pipeline.open(undefined, { devices, buckets: [bucket] });
  try {
    const ofCounts: RgbImage[][] = [];
    for (const steps of counts) {
      const ofSeeds: RgbImage[] = [];
      for (const seed of seeds) ofSeeds.push(await serialImage(pipeline, steps, seed));
      ofCounts.push(ofSeeds);
    }
    images.push(ofCounts);
  } finally {
    await pipeline.close();
  }
}
const rows = seeds.map((seed, s) => [
  String(seed),
  ...counts.map((_, c) => largestDifference(images.map((ofCounts) => ofCounts[c][s])).toFixed(2)),
]);
console.log(`Largest difference of two serial images in batches of ${buckets.join(', ')} rows, in grey levels\n`);
console.log(markdown([['seed', ...counts.map((steps) => `N = ${steps}`)], ...rows]));

async function serialImage(pipeline: Pipeline, steps: number, seed: number): Promise<RgbImage> {
  const guidance = Number(values.guidance);
  const options = { prompt: promptOf(seed), seed, steps, guidance, sampler: 'serial', previews: false } as const;
  const { rgb } = (await pipeline.generate(options).result).images[0];
  if (!rgb) throw new Error('an image was not finished');
  return rgb;
}

/** Mean absolute difference of the two images that differ most. */
function largestDifference(all: readonly RgbImage[]): number {
  const pairs = all.flatMap((one, k) => all.slice(k + 1).map((other) => meanAbsoluteDifference(one.data, other.data)));
  return Math.max(...pairs);
}
