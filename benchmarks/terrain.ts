/**
 * Evaluations and errors of each sampler on a second trained network: the denoiser of height maps of the Python package
 * adaptive-terrain-diffusion. `npm run bench:terrain [-- N ... --samples COUNT --samplers NAMES --exact COUNT --device NAME --model FILE]`
 *
 * The network has the form of EDM (Karras et al. 2022): it takes y = x0 + sigma epsilon and sigma, and returns x0. The solvers
 * step over x = y / sqrt(1 + sigma^2) with abar = 1 / (1 + sigma^2). Euler's step is the same in both forms.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { availableParallelism, cpus, homedir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import pLimit from 'p-limit';
import { markdown, tailStatistics } from 'srds/benchmark';
import { Batcher, DeviceEngine, parseDevices } from 'srds/engine';
import { Generator } from 'srds/random';
import { drive, type Denoiser, type SampleResult } from 'srds/run';
import {
  evenPartition,
  paradigms,
  parataa,
  picard,
  serial,
  srds,
  type Sampler,
  type SerialOptions,
} from 'srds/sampler';
import type { NoiseLevel, SolverStep } from 'srds/schedule';
import { euler, toPrediction } from 'srds/solver';
import { float32, identical, meanAbsoluteDifference } from 'srds/tensor';

const PACKAGE = 'adaptive-terrain-diffusion==0.4.2';
const WHEEL = {
  name: 'adaptive_terrain_diffusion-0.4.2-py3-none-any.whl',
  sha256: 'dd803be2c98d764e4e64db18c631eef46c210282b398c4dd080f4cda3fa7c84d',
};
const NETWORK = {
  name: 'terrain_diffusion/weights/terrain_consistency_unet_difficulty100.onnx',
  sha256: '95be54b4a39d58320e187a7ec533351c957f16a00be58773c86074828ee67887',
};

const DIMS = [1, 128, 128];
const SIZE = 128 * 128;
/** The package's difficulties are 1 to 100. The network takes them as 0 to 1. */
const DIFFICULTIES = 100;
/** Coprime to the difficulties, so that few samples spread over the range. */
const STRIDE = 37;
const [SIGMA_MIN, SIGMA_MAX, RHO] = [0.002, 80, 7];

/** A grey level is 1/255 of the range [-1, 1] of the network's output, which is the height on an asinh scale. */
const GREY_LEVEL = 2 / 255;
/** Root mean square of x at which srds, picard and parataa stop. */
const TOLERANCE = 0.1 * GREY_LEVEL;
/** Steps at once of paradigms, and the tolerance of its window. picard and parataa have all steps in theirs. */
const WINDOW = 32;
const PARADIGMS_TOLERANCE = 0.05;
/** Samples at a time on a GPU; they share batches. */
const GPU_CONCURRENCY = 8;

/** The samplers, by name, and the tolerance of each. The serial sampler is first. */
const SAMPLERS: Readonly<Record<string, { make: (options: SerialOptions) => Sampler; tolerance: number }>> = {
  serial: { make: serial, tolerance: 0 },
  srds: { make: srds, tolerance: TOLERANCE },
  /** The paper's blocks and correction. */
  'srds-paper': {
    make: (options) => {
      const { length } = options.steps;
      return srds({
        ...options,
        partition: evenPartition(length, Math.round(Math.sqrt(length))),
        correction: 'parareal',
      });
    },
    tolerance: TOLERANCE,
  },
  picard: { make: picard, tolerance: TOLERANCE },
  paradigms: {
    make: (options) => paradigms({ ...options, window: WINDOW, windowTolerance: PARADIGMS_TOLERANCE }),
    tolerance: 0,
  },
  parataa: { make: parataa, tolerance: TOLERANCE },
};

const HEAD = [
  'N',
  'sampler',
  'iterations',
  'critical evaluations, mean (max)',
  'critical speed-up',
  'total evaluations',
  'error: mean',
  '99 %',
  'max',
  'above 0.5',
  'above 1',
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    samples: { type: 'string', default: '200' },
    exact: { type: 'string', default: '2' },
    samplers: { type: 'string', default: Object.keys(SAMPLERS).join(',') },
    device: { type: 'string', default: 'cpu' },
    model: { type: 'string' },
  },
});
const counts = positionals.length > 0 ? positionals.map(Number) : [25, 50, 100];
const samples = Number(values.samples);
const exact = Math.min(samples, Number(values.exact));
const asked = values.samplers.split(',');
const unknown = asked.find((name) => !(name in SAMPLERS));
if (unknown !== undefined) throw new Error(`no sampler ${unknown}; there are ${Object.keys(SAMPLERS).join(', ')}`);
const names = Object.keys(SAMPLERS).filter((name) => name === 'serial' || asked.includes(name));
const devices = parseDevices(values.device);
if (devices === 'auto') throw new Error('name the devices');
const onCpu = devices.every(({ kind }) => kind === 'cpu');

const path = await networkFile(values.model);
// A process for each processor: one thread each and one row at a time, because other batch sizes round differently.
const engine = await DeviceEngine.open(
  { terrain: { path, replayed: true } },
  onCpu ? { workers: availableParallelism(), threads: 1 } : { devices },
);
const batcher = new Batcher(engine);
const maxRows = onCpu ? 1 : undefined;
// Samples that fill the engine would take their serial course, so a CPU has one at a time.
const limit = pLimit(onCpu ? 1 : GPU_CONCURRENCY);
try {
  const rows: string[][] = [];
  const notes: string[] = [];
  for (const steps of counts) {
    const runs = await measure(steps);
    rows.push(...names.map((name) => rowOf(steps, name, runs)));
    progress(markdown([HEAD, ...rows]));
    if (steps === counts[0]) notes.push(await edmDifference(steps, runs[0].serial.x));
    if (onCpu && exact > 0) notes.push(await exactness(steps, runs));
  }
  console.log(`${cpus()[0].model}, ${cpus().length} processors, Node ${process.version}, ${engine.device}\n`);
  console.log(`${markdown([HEAD, ...rows])}\n\n${notes.join('\n')}`);
} finally {
  await engine.close();
}

/** A run of one sampler, and its error in grey levels. */
interface Measured extends SampleResult {
  readonly error: number;
}

/** The runs of one seed, by sampler. */
type Runs = Readonly<Record<string, Measured>>;

/** The runs of each seed. */
async function measure(steps: number): Promise<Runs[]> {
  let finished = 0;
  const one = async (seed: number): Promise<Runs> => {
    const runs: Record<string, Measured> = {};
    for (const name of names) {
      const { make, tolerance } = SAMPLERS[name];
      const begin = performance.now();
      const result = await drive(make(startOf(seed, steps)), { denoiser: denoiserOf(seed), tolerance }).result;
      runs[name] = { ...result, error: errorOf(result.x, (name === 'serial' ? result : runs.serial).x) };
      const { critical, total } = result.evaluations;
      const seconds = ((performance.now() - begin) / 1000).toFixed(1);
      progress(
        `N = ${steps}, seed ${seed}, ${name}: ${critical} of ${total} evaluations, error ${runs[name].error.toFixed(3)}, ${seconds} s`,
      );
    }
    progress(`N = ${steps}: ${++finished} of ${samples} samples`);
    return runs;
  };
  return Promise.all(Array.from({ length: samples }, (_, seed) => limit(() => one(seed))));
}

/** Whether SRDS without a tolerance is `===` the serial sampler, for the first samples. */
async function exactness(steps: number, runs: readonly Runs[]): Promise<string> {
  const chosen = runs.slice(0, exact);
  const equal = await Promise.all(
    chosen.map((run, seed) =>
      limit(async () => {
        const { x, status } = await drive(srds(startOf(seed, steps)), { denoiser: denoiserOf(seed) }).result;
        progress(`N = ${steps}, seed ${seed}, srds without a tolerance: ${status}`);
        return identical(x, run.serial.x);
      }),
    ),
  );
  return `SRDS without a tolerance, N = ${steps}: ${equal.filter(Boolean).length} of ${equal.length} samples are === the serial sample`;
}

/** Compares the serial sample of seed 0 with one of Euler's method over y in float64. */
async function edmDifference(steps: number, x: Float32Array): Promise<string> {
  const sigmas = sigmasOf(steps);
  const y = Float64Array.from(new Generator(0).randn(SIZE), (value) => sigmas[0] * value);
  for (let i = 0; i < steps; i++) {
    const x0 = await denoise(0, Float32Array.from(y), sigmas[i]);
    for (let k = 0; k < SIZE; k++) y[k] += ((sigmas[i + 1] - sigmas[i]) * (y[k] - x0[k])) / sigmas[i];
  }
  const difference = Math.hypot(...x.map((value, k) => value - y[k])) / Math.hypot(...y);
  return `Relative difference of a serial sample to Euler's method in EDM form, N = ${steps}: ${difference.toExponential(1)}`;
}

/** Karras et al. 2022, formula (5), and 0. */
function sigmasOf(steps: number): number[] {
  const [most, least] = [SIGMA_MAX ** (1 / RHO), SIGMA_MIN ** (1 / RHO)];
  const sigma = (i: number) => (most + (i / Math.max(1, steps - 1)) * (least - most)) ** RHO;
  return [...Array.from({ length: steps }, (_, i) => sigma(i)), 0];
}

/** What each sampler starts from. The network takes sigma where others take a timestep, so t is sigma. */
function startOf(seed: number, count: number): SerialOptions {
  const levels = sigmasOf(count).map((sigma): NoiseLevel => ({ t: sigma, alphaBar: 1 / (1 + sigma ** 2) }));
  const steps = levels.slice(1).map((to, i): SolverStep => ({ from: levels[i], to }));
  const spread = Math.sqrt(1 - levels[0].alphaBar);
  return { x: new Generator(seed).randn(SIZE).map((value) => spread * value), steps, solver: euler };
}

function denoiserOf(seed: number): Denoiser {
  const client = {};
  return async ({ x, level: { t: sigma, alphaBar }, priority, speculative = false, signal }) => {
    const y = x.map((value) => value / Math.sqrt(alphaBar));
    const x0 = await denoise(seed, y, sigma, { client, priority, speculative, signal });
    return toPrediction('sample', x, x0, alphaBar);
  };
}

/** The network's x0 for the sample of a seed. */
async function denoise(
  seed: number,
  y: Float32Array,
  sigma: number,
  options: Partial<Parameters<Batcher['evaluate']>[1]> = {},
): Promise<Float32Array> {
  const difficulty = ((STRIDE * seed) % DIFFICULTIES) / (DIFFICULTIES - 1);
  const scalar = (value: number) => float32(Float32Array.of(value), []);
  const inputs = { noisy: float32(y, DIMS), sigma: scalar(sigma), difficulty: scalar(difficulty) };
  const request = { priority: [0], client: {}, maxRows, ...options };
  const [x0] = await batcher.evaluate({ graph: 'terrain', output: 'denoised', inputs }, request);
  return x0;
}

/** Mean absolute difference in grey levels. The package clips its samples to the range. */
function errorOf(a: Float32Array, b: Float32Array): number {
  const clipped = (x: Float32Array) => x.map((value) => Math.min(1, Math.max(-1, value)));
  return meanAbsoluteDifference(clipped(a), clipped(b)) / GREY_LEVEL;
}

function rowOf(steps: number, name: string, runs: readonly Runs[]): string[] {
  const of = (what: (run: Measured) => number) => runs.map((run) => what(run[name]));
  const critical = of(({ evaluations }) => evaluations.critical);
  const { mean: average, p99, max, aboveHalf, aboveOne, of: number } = tailStatistics(of(({ error }) => error));
  return [
    String(steps),
    name,
    mean(of(({ iterations }) => iterations)).toFixed(2),
    `${mean(critical).toFixed(1)} (${Math.max(...critical)})`,
    mean(critical.map((value) => steps / value)).toFixed(2),
    mean(of(({ evaluations }) => evaluations.total)).toFixed(0),
    average.toFixed(3),
    p99.toFixed(2),
    max.toFixed(2),
    `${aboveHalf} of ${number}`,
    String(aboveOne),
  ];
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
}

function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** The network's file: the given one, or that of the package, which pip fetches once. */
async function networkFile(given: string | undefined): Promise<string> {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'srds');
  const file = given ?? join(cache, basename(NETWORK.name));
  if (given === undefined && !(await exists(file))) {
    progress(`fetching ${PACKAGE}`);
    await mkdir(cache, { recursive: true });
    const folder = await mkdtemp(join(cache, 'terrain-'));
    try {
      const run = promisify(execFile);
      await run('python3', ['-m', 'pip', 'download', '--no-deps', '--only-binary=:all:', '--dest', folder, PACKAGE]);
      const wheel = join(folder, WHEEL.name);
      await verify(wheel, WHEEL.sha256);
      const unpack = 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract(sys.argv[2], sys.argv[3])';
      await run('python3', ['-c', unpack, wheel, NETWORK.name, folder]);
      await rename(join(folder, NETWORK.name), file);
    } finally {
      await rm(folder, { recursive: true });
    }
  }
  await verify(file, NETWORK.sha256);
  return file;
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

async function verify(file: string, sha256: string): Promise<void> {
  const found = createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
  if (found !== sha256) throw new Error(`${file} has the SHA-256 ${found} instead of ${sha256}`);
}
