// Evaluations of SRDS and its difference to the serial image over 12 prompts, for the default blocks and the same number of even ones.
// `npm run bench:convergence [-- N ...]`
import { Pipeline, type GenerateOptions, type GenerateResult } from 'srds';
import { defaultPartition, evenPartition } from 'srds/sampler';
import { maxAbsoluteDifference, meanAbsoluteDifference } from 'srds/tensor';

const PROMPTS = [
  'a red ball on the beach',
  'a large glossy green cube on a checkered floor under a clear sky',
  'a small blue metal cube on sand at night',
  'a yellow cone and a purple cylinder on grass, cloudy',
  'a white torus on a wooden floor at sunset',
  'two matte orange spheres on a gray floor',
  'a large metal cylinder and a small red cone on sand',
  'a black cube at night',
  'a small cyan sphere beside a large yellow torus on grass',
  'a glossy purple cone on a white floor at sunset',
  'a green ball and a blue box on a checkered floor, cloudy',
  'a metal sphere on a wooden floor under a clear sky',
];
const counts = process.argv.slice(2).map(Number);
const HEAD = [
  'N',
  'blocks',
  'iterations',
  'critical evaluations, mean (max)',
  'critical speed-up',
  'total evaluations',
  'error, mean / max over prompts',
  'largest error of a value',
];

const pipeline = await Pipeline.open();
try {
  console.log(`| ${HEAD.join(' | ')} |\n|${HEAD.map(() => '---|').join('')}`);
  for (const steps of counts.length > 0 ? counts : [25, 50, 100]) {
    const usual = defaultPartition(steps);
    const partitions = { default: usual, even: evenPartition(steps, usual.length) };
    const runs = { default: [] as RunSummary[], even: [] as RunSummary[] };
    for (const [seed, prompt] of PROMPTS.entries()) {
      const generate = (options: Partial<GenerateOptions>) =>
        pipeline.generate({ prompt, steps, seed, previews: false, ...options }).result;
      const reference = pixelsOf(await generate({ sampler: 'serial' }));
      for (const kind of ['default', 'even'] as const) {
        const result = await generate({ blocks: partitions[kind] });
        const { iterations, evaluations } = result.images[0];
        const pixels = pixelsOf(result);
        const [mean, max] = [meanAbsoluteDifference(pixels, reference), maxAbsoluteDifference(pixels, reference)];
        runs[kind].push({ iterations, ...evaluations, mean, max });
      }
    }
    for (const kind of ['default', 'even'] as const) {
      const of = (what: keyof RunSummary) => runs[kind].map((run) => run[what]);
      const cells = [
        steps,
        `${usual.length}, ${kind}`,
        mean(of('iterations')).toFixed(2),
        `${mean(of('critical')).toFixed(1)} (${Math.max(...of('critical'))})`,
        mean(of('critical').map((value) => steps / value)).toFixed(2),
        mean(of('total')).toFixed(0),
        `${mean(of('mean')).toFixed(3)} / ${Math.max(...of('mean')).toFixed(3)}`,
        Math.max(...of('max')),
      ];
      console.log(`| ${cells.join(' | ')} |`);
    }
  }
} finally {
  await pipeline.close();
}

function pixelsOf({ images: [{ rgb }] }: GenerateResult): Uint8Array {
  if (!rgb) throw new Error('an image was not finished');
  return rgb.data;
}

/** Iterations and evaluations of a run, and its error in grey levels. */
interface RunSummary {
  readonly iterations: number;
  readonly critical: number;
  readonly total: number;
  readonly mean: number;
  readonly max: number;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
