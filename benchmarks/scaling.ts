// Samplers on one and several CUDA devices against the serial sampler on one, beside forecasts from the latency curve of one device.
// `npm run bench:scaling -- FOLDER [--steps 25,100] [--devices 1,2,4] [--cases serial,srds:2,auto] [--images 3] [--out FILE] [--from FILE]`
// `--from` continues the table of an earlier `--out` on the same machine.
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Pipeline, type GenerateOptions, type GenerateResult } from 'srds';
import { BENCHMARK_CASES, markdown, promptOf, type BenchmarkCase } from 'srds/benchmark';
import {
  BUNDLED_CONVERGENCE,
  forecastPicard,
  forecastSerial,
  forecastSrds,
  sharesRows,
  type Machine,
} from 'srds/planner';

/** Cases with `:k` stop after k iterations in any case, the others by the tolerance. */
const CASES = 'serial,srds:2,srds:3,srds,srds-paper:2,srds-paper:3,srds-vanilla:2,srds-vanilla:3,picard,auto';
/** Beyond these steps an image takes so long that one says enough, and picard has batches of as many rows. */
const LONG = 500;

/** Of the records that tell forecasts the iterations of a run. */
const TOLERANCE = 0.08;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    steps: { type: 'string', default: '25,100,196,961' },
    devices: { type: 'string', default: '1,2' },
    cases: { type: 'string', default: CASES },
    images: { type: 'string', default: '3' },
    out: { type: 'string' },
    from: { type: 'string' },
  },
});
const numbers = (text: string) => text.split(',').map(Number);

interface Row {
  readonly devices: number;
  readonly steps: number;
  readonly name: string;
  readonly sampler: string;
  readonly iterations: number;
  readonly evaluations: GenerateResult['images'][number]['evaluations'];
  /** Seconds of sampling, and from the prompt to the image. */
  readonly sample: number;
  readonly whole: number;
  /** Seconds of sampling that were forecast for as many iterations. */
  readonly forecast: number | undefined;
}

function optionsOf(name: string, steps: number): Partial<GenerateOptions> {
  const [kind, iterations] = name.split(':');
  const options = BENCHMARK_CASES[kind as BenchmarkCase](steps, steps);
  return name.includes(':') ? { ...options, maxIterations: Number(iterations), tolerance: 0 } : options;
}

/** The machine with more of the devices that were measured. */
function machineOf(one: Machine, count: number): Machine {
  const [curve] = one.devices;
  const splitsRows = sharesRows(curve, one.rowsPerEvaluation, count);
  return { ...one, devices: Array.from({ length: count }, () => curve), splitsRows };
}

/** Forecast of sampling as a run did it: with its blocks and iterations. Records of runs with barriers do not count, so these have none. */
function forecastOf({ settings, images: [{ iterations }] }: GenerateResult, machine: Machine): number | undefined {
  const { sampler, pipelined, partition, window, grid, maxIterations } = settings;
  const steps = grid.length;
  if (sampler === 'serial') return forecastSerial({ steps }, machine).seconds;
  if (!pipelined || (sampler !== 'srds' && sampler !== 'picard')) return undefined;
  // A record that outweighs all else.
  const parts = sampler === 'srds' ? partition.length : (window ?? steps);
  const record = { sampler, steps, parts, tolerance: TOLERANCE, guidance: 5, runs: 1, iterations, expected: 2 };
  const convergence = { ...BUNDLED_CONVERGENCE, guidance: 5, priorRuns: 1e-9, records: [record] };
  const told = { ...machine, convergence };
  const stopping = { tolerance: TOLERANCE, maxIterations };
  if (sampler === 'picard') return forecastPicard(steps, parts, told, stopping).seconds;
  return forecastSrds(partition, 1, told, stopping).seconds;
}

const wholeOf = ({ seconds: { encode, sample, decode } }: GenerateResult) => encode + sample + decode;
/** The run of median time, the faster one of two. */
const medianOf = (runs: readonly GenerateResult[]) =>
  runs.toSorted((a, b) => wholeOf(a) - wholeOf(b))[Math.floor((runs.length - 1) / 2)];

interface Results {
  /** One device. */
  readonly machine: Machine | undefined;
  readonly rows: readonly Row[];
}

const before = values.from === undefined ? undefined : (JSON.parse(readFileSync(values.from, 'utf8')) as Results);
const rows: Row[] = [...(before?.rows ?? [])];
let one = before?.machine;
for (const devices of numbers(values.devices)) {
  const names = Array.from({ length: devices }, (_, k) => `cuda:${k}`).join(',');
  const pipeline = await Pipeline.open(positionals[0], { devices: names, onWarning: console.error });
  try {
    const measured = await pipeline.machine({ prompt: '' }, { fresh: true });
    one ??= measured;
    console.log(`${names}: ${JSON.stringify(measured.devices[0])}`);
    for (const steps of numbers(values.steps)) {
      for (const name of values.cases.split(',')) {
        if (name === 'picard' && steps > LONG) continue;
        const generate = (seed: number) =>
          pipeline.generate({ steps, previews: false, prompt: promptOf(seed), seed, ...optionsOf(name, steps) }).result;
        const results: GenerateResult[] = [];
        const count = steps > LONG ? 1 : Number(values.images);
        // The first opens buckets.
        if (steps <= LONG) await generate(0);
        for (let seed = 1; seed <= count; seed++) results.push(await generate(seed));
        const result = medianOf(results);
        const row = {
          devices,
          steps,
          name,
          sampler: result.settings.sampler,
          iterations: result.images[0].iterations,
          evaluations: result.images[0].evaluations,
          sample: result.seconds.sample,
          whole: wholeOf(result),
          forecast: forecastOf(result, machineOf(one, devices)),
        };
        rows.push(row);
        console.log(JSON.stringify(row));
      }
    }
  } finally {
    await pipeline.close();
  }
}

const HEAD = [
  'N',
  'GPUs',
  'sampler',
  'iterations',
  'critical / total evaluations',
  'sampling, ms',
  'forecast, ms',
  'off by',
];
const AGAINST = ['prompt to image, ms', 'against serial on one GPU'];
const ms = (seconds: number) => (1000 * seconds).toFixed(0);
const table = rows
  .toSorted((a, b) => a.steps - b.steps || a.devices - b.devices)
  .map(({ steps, devices, name, sampler, iterations, evaluations, sample, whole, forecast }) => {
    const serial = rows.find((row) => row.steps === steps && row.devices === 1 && row.name === 'serial');
    return [
      String(steps),
      String(devices),
      name === 'auto' ? `auto (${sampler})` : name,
      sampler === 'serial' ? '' : String(iterations),
      `${evaluations.critical} / ${evaluations.total}`,
      ms(sample),
      forecast === undefined ? '' : ms(forecast),
      forecast === undefined ? '' : `${(100 * (forecast / sample - 1)).toFixed(0)} %`,
      ms(whole),
      serial ? `${(serial.whole / whole).toFixed(2)}x` : '',
    ];
  });
console.log(markdown([[...HEAD, ...AGAINST], ...table]));
if (values.out !== undefined) {
  const results: Results = { machine: one, rows };
  writeFileSync(values.out, `${JSON.stringify(results, undefined, 1)}\n`);
}
