// Critical evaluations and error against the serial sample over 12 prompts. `npm run bench:convergence [-- N ...]`
import { Pipeline } from 'srds';

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

const pipeline = await Pipeline.open();
try {
  console.log(
    '| N | blocks | critical evaluations, mean (max) | critical speed-up | total evaluations | error, mean / max over prompts | largest error of a value |',
  );
  console.log('|---|---|---|---|---|---|---|');
  for (const steps of counts.length > 0 ? counts : [25, 50, 100]) {
    const critical: number[] = [];
    const total: number[] = [];
    const errors: number[] = [];
    let worst = 0;
    let blocks = 0;
    for (const [seed, prompt] of PROMPTS.entries()) {
      const { images, settings } = await pipeline.generate({ prompt, steps, seed, compare: true }).result;
      const [{ evaluations, error }] = images;
      if (!error) throw new Error('nothing to compare with');
      blocks = settings.partition.length;
      critical.push(evaluations.critical);
      total.push(evaluations.total);
      errors.push(error.mean);
      worst = Math.max(worst, error.max);
    }
    const cells = [
      String(steps),
      String(blocks),
      `${mean(critical).toFixed(1)} (${Math.max(...critical)})`,
      mean(critical.map((value) => steps / value)).toFixed(2),
      mean(total).toFixed(0),
      `${mean(errors).toFixed(3)} / ${Math.max(...errors).toFixed(3)}`,
      String(worst),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
} finally {
  await pipeline.close();
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
