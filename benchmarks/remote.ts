/**
 * Endpoints on this machine: the cost of a call, the throughput of one and of two servers whose evaluations take 50 ms, and forecasts
 * against measured times. `npm run bench:remote`
 */
import { cpus, loadavg } from 'node:os';
import { markdown } from 'srds/benchmark';
import {
  Batcher,
  DeviceEngine,
  OipClient,
  parseEndpoint,
  type BatchReport,
  type Evaluation,
  type RequestTensor,
} from 'srds/engine';
import { networkDenoiser } from 'srds/model';
import { curveOf, forecastSerial, measureCurve, rowsNotWorthSplitting, simulateSrds, type Machine } from 'srds/planner';
import { Generator } from 'srds/random';
import { drive } from 'srds/run';
import { defaultPartition, serial, srds } from 'srds/sampler';
import { fineGrid, scheduleConfig } from 'srds/schedule';
import { ddim } from 'srds/solver';
import { float32 } from 'srds/tensor';
import { DIMS, startSleepingServer } from './sleepingServer.js';

const SIZE = DIMS.reduce((a, b) => a * b);
const ROWS = 4;
const WARM_UP = 200;
const CALLS = 1000;

const EVALUATION_MS = 50;
const MAX_ROWS = [1, 8];
const STEPS = 50;
/** SRDS ends after this iteration, as a tolerance would end it: evaluations of later ones may have begun. */
const ITERATIONS = 3;
const CLIENTS = 4;
/** Images of all clients together. They go on until the last of these, so that none has the servers to itself. */
const IMAGES = 12;
const SAMPLERS = ['serial', 'srds'] as const;

const grid = fineGrid(scheduleConfig(), STEPS);
const partition = defaultPartition(STEPS);

function evaluationOf(seed: number): Evaluation {
  const inputs = { sample: float32(noise(seed), DIMS), timestep: float32(Float32Array.of(500), []) };
  return { graph: 'unet', output: 'out_sample', inputs };
}

function noise(seed: number): Float32Array {
  return new Generator(seed).randn(SIZE);
}

function openEngine(devices: readonly string[]): Promise<DeviceEngine> {
  const endpoints = { graph: 'unet', inFlight: 1 };
  return DeviceEngine.open({}, { devices: devices.map(parseEndpoint), endpoints, graphs: ['unet'] });
}

/** Milliseconds of calls one after the other: the quartiles. */
async function quartiles(call: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let k = 0; k < WARM_UP + CALLS; k++) {
    const start = performance.now();
    await call();
    if (k >= WARM_UP) times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return [0.25, 0.5, 0.75].map((share) => times[Math.floor(share * times.length)]);
}

async function measureCalls(): Promise<string[][]> {
  const server = await startSleepingServer({ milliseconds: 0, maxRows: ROWS });
  const client = new OipClient(parseEndpoint(server.device));
  const engine = await openEngine([server.device]);
  try {
    const batch = Array.from({ length: ROWS }, (_, k) => evaluationOf(k));
    const pieces = (name: string) => batch.map(({ inputs }) => new Uint8Array(inputs[name].data.buffer));
    const inputs: RequestTensor[] = [
      { name: 'sample', datatype: 'FP32', shape: [ROWS, ...DIMS], pieces: pieces('sample') },
      { name: 'timestep', datatype: 'FP32', shape: [ROWS, 1], pieces: pieces('timestep') },
    ];
    const infer = () => client.infer({ inputs, outputs: ['out_sample'] }, { timeoutMs: 10_000, maxBytes: 2 ** 20 });
    const calls = [
      ['a GET without a tensor', () => client.isReady()],
      ['`OipClient.infer`', infer],
      ['`DeviceEngine.run`', () => engine.run(batch)],
    ] as const;
    const rows: string[][] = [];
    for (const [name, call] of calls) rows.push([name, ...(await quartiles(call)).map((time) => time.toFixed(2))]);
    return rows;
  } finally {
    client.close();
    await engine.close();
    await server.stop();
  }
}

/** What several clients get. */
interface Throughput {
  /** Images a second. */
  readonly rate: number;
  /** Rows of a mean batch. */
  readonly rows: number;
  /** Evaluations for an image, those of the images that were not completed included. */
  readonly evaluations: number;
}

/** Endpoints and what is known of them. */
class Fleet {
  private batches: BatchReport[] = [];
  private readonly batcher: Batcher;
  private readonly conditional: string;
  private images = 0;

  private constructor(
    private readonly engine: DeviceEngine,
    readonly machine: Machine,
  ) {
    this.batcher = new Batcher(engine, (report) => this.batches.push(report));
    this.conditional = engine.register({});
  }

  /** Measures the endpoints, all at the same time. */
  static async open(devices: readonly string[]): Promise<Fleet> {
    const engine = await openEngine(devices);
    const options = { evaluation: evaluationOf(0), sampleSize: SIZE };
    const measured = await Promise.all(engine.groupsOf('unet').map((group) => measureCurve(group, options)));
    const curves = measured.flatMap((one) => curveOf(one, false) ?? []);
    return new Fleet(engine, { devices: curves, rowsPerEvaluation: 1, maxRows: engine.maxRows });
  }

  /** Generates an image. @returns seconds */
  async generate(sampler: (typeof SAMPLERS)[number], signal?: AbortSignal): Promise<number> {
    const image = this.images++;
    const denoiser = networkDenoiser({
      batcher: this.batcher,
      graph: 'unet',
      output: 'out_sample',
      dims: DIMS,
      predictionType: 'epsilon',
      conditional: this.conditional,
      guidance: 1,
      priority: [image],
      client: {},
      minRows: rowsNotWorthSplitting(this.machine.devices[0]),
    });
    const options = { x: noise(image), steps: grid, solver: ddim };
    const start = performance.now();
    if (sampler === 'serial') await drive(serial(options), { denoiser, signal }).result;
    else {
      const residual = ({ iteration }: { readonly iteration: number }) => (iteration < ITERATIONS ? Infinity : 0);
      await drive(srds({ ...options, partition }), { denoiser, residual, tolerance: 1, signal }).result;
    }
    return (performance.now() - start) / 1000;
  }

  /** Several clients, each with one image after the other. */
  async throughput(sampler: (typeof SAMPLERS)[number]): Promise<Throughput> {
    this.batches = [];
    const end = new AbortController();
    const start = performance.now();
    let images = 0;
    let rate = 0;
    const client = async () => {
      for (;;) {
        await this.generate(sampler, end.signal);
        if (end.signal.aborted) return;
        if (++images < IMAGES) continue;
        rate = (1000 * images) / (performance.now() - start);
        end.abort();
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, client));
    const evaluations = this.batches.reduce((sum, { rows }) => sum + rows, 0);
    return { rate, rows: evaluations / this.batches.length, evaluations: evaluations / images };
  }

  /** Seconds of one image, as the planner forecasts them. */
  forecast(sampler: (typeof SAMPLERS)[number]): number {
    if (sampler === 'serial') return forecastSerial({ steps: STEPS }, this.machine).seconds;
    return simulateSrds(partition, ITERATIONS, this.machine).seconds;
  }

  close(): Promise<void> {
    return this.engine.close();
  }
}

interface Tables {
  readonly throughput: string[][];
  readonly forecasts: string[][];
}

async function measureServers(maxRows: number): Promise<Tables> {
  const form = { milliseconds: EVALUATION_MS, maxRows };
  const servers = await Promise.all([startSleepingServer(form), startSleepingServer(form)]);
  const rates = new Map(SAMPLERS.map((sampler) => [sampler, [] as Throughput[]]));
  const forecasts: string[][] = [];
  try {
    for (const count of [1, 2]) {
      const fleet = await Fleet.open(servers.slice(0, count).map(({ device }) => device));
      try {
        for (const sampler of SAMPLERS) {
          const forecast = fleet.forecast(sampler);
          const seconds = await fleet.generate(sampler);
          const off = `${(100 * (forecast / seconds - 1)).toFixed(1)} %`;
          forecasts.push([sampler, String(maxRows), String(count), forecast.toFixed(2), seconds.toFixed(2), off]);
          rates.get(sampler)?.push(await fleet.throughput(sampler));
        }
      } finally {
        await fleet.close();
      }
    }
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
  const throughput = [...rates].map(([sampler, [one, two]]) => [
    sampler,
    String(maxRows),
    ...[one, two].map(({ rate }) => rate.toFixed(3)),
    (two.rate / one.rate).toFixed(2),
    [one, two].map(({ rows }) => rows.toFixed(1)).join(', '),
    [one, two].map(({ evaluations }) => evaluations.toFixed(0)).join(', '),
  ]);
  return { throughput, forecasts };
}

const load = () => loadavg()[0].toFixed(1);
console.log(`${cpus()[0].model}, ${cpus().length} processors, Node ${process.version}; load before ${load()}\n`);
console.log(
  `Milliseconds of a call, ${ROWS} rows, ${(ROWS * SIZE * 4) / 1024} KB each way, ${CALLS} calls in sequence\n`,
);
console.log(`${markdown([['call', 'lower quartile', 'median', 'upper quartile'], ...(await measureCalls())])}\n`);
const tables: Tables[] = [];
for (const maxRows of MAX_ROWS) tables.push(await measureServers(maxRows));
const title = `${EVALUATION_MS} ms an evaluation, N = ${STEPS}, SRDS with ${partition.length} blocks and ${ITERATIONS} iterations`;
console.log(`Images a second, ${CLIENTS} clients, ${IMAGES} images; ${title}\n`);
const details = ['rows of a mean batch', 'evaluations for an image'];
const head = ['sampler', 'most rows', 'one server', 'two servers', 'ratio', ...details];
console.log(`${markdown([head, ...tables.flatMap(({ throughput }) => throughput)])}\n`);
console.log(`Seconds of one image; ${title}\n`);
const headOfForecasts = ['sampler', 'most rows', 'servers', 'forecast', 'measured', 'off by'];
console.log(markdown([headOfForecasts, ...tables.flatMap(({ forecasts }) => forecasts)]));
console.log(`\nload after ${load()}`);
