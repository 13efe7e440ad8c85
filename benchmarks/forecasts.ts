// Forecasts of SRDS on the CPU after three images with an empty cache, against the mean of the next three. `npm run bench:forecasts [-- N ...]`
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pipeline, type GenerateResult } from 'srds';
import { markdown, promptOf } from 'srds/benchmark';
import { basisOf, expectedIterations, forecastSrds } from 'srds/planner';

const IMAGES = 3;
const HEAD = ['N', 'blocks', 'of each', 'forecast before', 'forecast after three', 'next three, mean', 'off by'];
const counts = process.argv.slice(2).map(Number);

const cache = mkdtempSync(join(tmpdir(), 'srds-'));
process.env.XDG_CACHE_HOME = cache;
const pipeline = await Pipeline.open();
try {
  const rows: string[][] = [];
  for (const steps of counts.length > 0 ? counts : [25, 50]) {
    const options = { steps, sampler: 'srds', previews: false } as const;
    const generate = async (from: number): Promise<GenerateResult[]> => {
      const results: GenerateResult[] = [];
      for (let seed = from; seed < from + IMAGES; seed++) {
        results.push(await pipeline.generate({ ...options, prompt: promptOf(seed), seed }).result);
      }
      return results;
    };
    const forecast = async ({ settings: { partition, tolerance } }: Pick<GenerateResult, 'settings'>) => {
      const machine = await pipeline.machine({ ...options, prompt: '' });
      const iterations = expectedIterations(partition, tolerance, machine.convergence);
      const { seconds, critical } = forecastSrds(partition, 1, machine, { tolerance });
      console.log(`N = ${steps}: forecasts rest on ${basisOf(machine.convergence)}`);
      return [iterations, critical, seconds];
    };
    const { settings } = await pipeline.generate({ ...options, prompt: '', maxIterations: 1 }).result;
    const before = await forecast({ settings });
    await generate(0);
    const after = await forecast({ settings });
    const next = (await generate(IMAGES)).map(({ images: [{ iterations, evaluations }], seconds }) => [
      iterations,
      evaluations.critical,
      seconds.sample,
    ]);
    ['iterations', 'critical evaluations', 'seconds'].forEach((what, k) => {
      const mean = next.reduce((sum, one) => sum + one[k], 0) / next.length;
      const digits = [before[k], after[k], mean].map((value) => value.toFixed(2));
      const off = `${(100 * (after[k] / mean - 1)).toFixed(0)} %`;
      rows.push([String(steps), String(settings.partition.length), what, ...digits, off]);
    });
  }
  console.log(markdown([HEAD, ...rows]));
} finally {
  await pipeline.close();
  rmSync(cache, { recursive: true });
}
