// Forecasts of SRDS on the CPU after three images with an empty cache, against the next six. `npm run bench:forecasts [-- N ...]`
// On K endpoints of this machine, whose evaluations of 64 x 64 pixels take 600 ms: `npm run bench:forecasts -- --endpoints K [N ...]`
// The seconds that are forecast for the iterations that each image took show what is wrong beside their number.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Pipeline, type GenerateResult } from 'srds';
import { markdown, promptOf } from 'srds/benchmark';
import { basisOf, expectedIterations, forecastSrds, simulateSrds, type Machine } from 'srds/planner';
import { startNetworkServer } from './networkServer.js';

const LEARNED = 3;
const NEXT = 6;
const HEAD = [
  'N',
  'blocks',
  'of each',
  'forecast before',
  `forecast after ${LEARNED}`,
  `next ${NEXT}, mean ± its deviation`,
  'off by',
];
const { values, positionals } = parseArgs({ options: { endpoints: { type: 'string' } }, allowPositionals: true });
const counts = positionals.map(Number);
/** Evaluations of an endpoint: longer than the CPU needs for the rows of one, so that what forecasts do not know is the network's round trip. */
const FORM = { milliseconds: 600, maxRows: 8 };
const SMALL = { width: 64, height: 64 };

const cache = mkdtempSync(join(tmpdir(), 'srds-'));
process.env.XDG_CACHE_HOME = cache;
const servers = await Promise.all(
  Array.from({ length: Number(values.endpoints ?? 0) }, () => startNetworkServer(FORM)),
);
const devices = servers.length === 0 ? undefined : servers.map(({ device }) => device).join(',');
const pipeline = await Pipeline.open(undefined, { devices });
try {
  const rows: string[][] = [];
  for (const steps of counts.length > 0 ? counts : [25, 50]) {
    const size = servers.length === 0 ? {} : SMALL;
    const options = { steps, sampler: 'srds', previews: false, ...size } as const;
    const generate = async (from: number, to: number): Promise<GenerateResult[]> => {
      const results: GenerateResult[] = [];
      for (let seed = from; seed < to; seed++) {
        results.push(await pipeline.generate({ ...options, prompt: promptOf(seed), seed }).result);
      }
      return results;
    };
    const { settings } = await pipeline.generate({ ...options, prompt: '', maxIterations: 1 }).result;
    const { partition, tolerance } = settings;
    const forecast = (machine: Machine) => {
      const iterations = expectedIterations(partition, tolerance, machine.convergence);
      const { seconds, critical } = forecastSrds(partition, 1, machine, { tolerance });
      console.log(`N = ${steps}: forecasts rest on ${basisOf(machine.convergence)}`);
      return { iterations, critical, seconds };
    };
    const machineNow = () => pipeline.machine({ ...options, prompt: '' });
    const before = forecast(await machineNow());
    await generate(0, LEARNED);
    const machine = await machineNow();
    const after = forecast(machine);
    const next = (await generate(LEARNED, LEARNED + NEXT)).map(({ images: [image], seconds }) => ({
      iterations: image.iterations,
      critical: image.evaluations.critical,
      seconds: seconds.sample,
    }));
    const { maxRows } = forecastSrds(partition, 1, machine, { tolerance });
    const given = next.map(({ iterations }) => simulateSrds(partition, iterations, { ...machine, maxRows }).seconds);
    const table = [
      ['iterations', before.iterations, after.iterations, next.map(({ iterations }) => iterations)],
      ['critical evaluations', before.critical, after.critical, next.map(({ critical }) => critical)],
      ['seconds', before.seconds, after.seconds, next.map(({ seconds }) => seconds)],
      ['seconds, iterations given', undefined, mean(given), next.map(({ seconds }) => seconds)],
    ] as const;
    for (const [what, first, second, taken] of table) {
      const cells = [
        first?.toFixed(2) ?? '',
        second.toFixed(2),
        `${mean(taken).toFixed(2)} ± ${errorOf(taken).toFixed(2)}`,
      ];
      const off = `${(100 * (second / mean(taken) - 1)).toFixed(0)} %`;
      rows.push([String(steps), String(partition.length), what, ...cells, off]);
    }
  }
  console.log(markdown([HEAD, ...rows]));
} finally {
  await pipeline.close();
  await Promise.all(servers.map((server) => server.stop()));
  rmSync(cache, { recursive: true });
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Standard error of the mean. */
function errorOf(values: readonly number[]): number {
  const squares = values.map((value) => (value - mean(values)) ** 2);
  return Math.sqrt(mean(squares) / (values.length - 1));
}
