/**
 * What the batch buckets of a network take: seconds until the first batch has run, memory, milliseconds of a batch. First with constants
 * of their own, then with shared ones.
 * `npm run bench:buckets -- [FOLDER] [--device cuda] [--buckets 1,2,4,8,16] [--precision auto]`
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { markdown } from 'srds/benchmark';
import { parseDevices, type Processor } from 'srds/engine';
import { BUNDLED_MODEL, readModelFolder } from 'srds/model';
import { elementBytes, type BucketSession } from '../src/engine/bucketSession.js';
import { CudaRuntime } from '../src/engine/cuda/cudaRuntime.js';
import { OrtApi } from '../src/engine/cuda/ortApi.js';
import { OrtSession } from '../src/engine/cuda/ortSession.js';
import { SharingSessions } from '../src/engine/cuda/sharingSessions.js';
import { copyConverted, shapeOf } from '../src/engine/local/inputData.js';
import { addition } from '../src/engine/local/providers.js';
import { fileFor } from '../src/engine/local/session.js';
import { exampleInputs } from '../src/model/exampleInputs.js';
import { graphFiles } from '../src/model/modelFolder.js';
import type { Precision } from '../src/onnx/graphInfo.js';
import { prepareModel, type BucketShape } from '../src/onnx/prepare.js';
import { sizeOf } from '../src/tensor/tensor.js';

const RUNS = 10;
const MEGABYTE = 2 ** 20;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    device: { type: 'string', default: 'cuda' },
    buckets: { type: 'string', default: '1,2,4,8,16' },
    precision: { type: 'string', default: 'auto' },
  },
});
const [device] = parseDevices(values.device) as readonly Processor[];
const model = await readModelFolder(positionals[0] ?? BUNDLED_MODEL);
const { network } = model.family;
const settings = { device, threads: 1, buckets: [], fused: true, cApi: true, channel: '' };
const file = fileFor(graphFiles(model, values.precision as Precision | 'auto')[network], settings);
const prepared = await prepareModel(file, { kind: device.kind, fused: true });
const { inputs, outputs } = prepared.values;
const example = exampleInputs(model, model.size, inputs) ?? fail('the network says too little of its inputs');

const api = await OrtApi.load();
const own = { ...settings, weights: prepared.weights };
const shared = prepared.share();
const sharing = shared && new SharingSessions(api, shared, own);
const constants = shared?.parts.flatMap((part) => part.outputs) ?? [];
const sharedBytes = constants.reduce((sum, { type, dims }) => sum + sizeOf(dims) * elementBytes(type), 0);

function fail(message: string): never {
  throw new Error(message);
}

function bucketOf(rows: number): BucketShape {
  const shapes = inputs.map((info) => [info.name, shapeOf(info, example[info.name].dims, rows)] as const);
  return { rows, shapes: new Map(shapes), indexed: [] };
}

/** Runs the example in all rows. @returns milliseconds */
async function run(session: BucketSession): Promise<number> {
  const start = performance.now();
  await session.run(outputs[0].name, new Set(inputs.map(({ name }) => name)));
  return performance.now() - start;
}

function fill(session: BucketSession, { shapes }: BucketShape): void {
  for (const { name, type } of inputs) {
    const data = session.allocate(name, type, shapes.get(name) ?? []);
    const row = example[name].data;
    for (let at = 0; at < data.length; at += row.length) copyConverted(data, at, row);
  }
}

/** Bytes of the GPU, or of this process, that are in use. */
const runtime = device.kind === 'cuda' ? CudaRuntime.load(api.koffi, device.index) : undefined;
function usedBytes(): number {
  if (runtime) return -runtime.freeBytes();
  const [, kilobytes] = /VmRSS:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

async function open(rows: number, openSession: (shape: BucketShape) => BucketSession | Promise<BucketSession>) {
  const [before, start] = [usedBytes(), performance.now()];
  const shape = bucketOf(rows);
  const session = await openSession(shape);
  fill(session, shape);
  await run(session);
  const seconds = (performance.now() - start) / 1000;
  const bytes = usedBytes() - before;
  const times: number[] = [];
  for (let k = 0; k < RUNS; k++) times.push(await run(session));
  const milliseconds = times.toSorted((a, b) => a - b)[RUNS / 2];
  return { session, rows, seconds, bytes, milliseconds };
}

const openOwn = (shape: BucketShape) => OrtSession.open(api, prepared.source(shape), own);
const kinds = { own: openOwn, ...(sharing && { shared: (shape: BucketShape) => sharing.open(shape) }) };
const buckets = values.buckets.split(',').map(Number);

// The libraries load their kernels when they are first used.
await OrtSession.open(api, addition(), own).close();
const first = await open(buckets[0], openOwn);
await first.session.close();
console.log(`${model.name}: ${constants.length} shared constants of ${(sharedBytes / MEGABYTE).toFixed(0)} MB`);
const rows: string[][] = [];
for (const [kind, openSession] of Object.entries(kinds)) {
  const opened: BucketSession[] = [];
  for (const size of buckets) {
    const { session, seconds, bytes, milliseconds } = await open(size, openSession);
    opened.push(session);
    rows.push([kind, String(size), seconds.toFixed(2), (bytes / MEGABYTE).toFixed(0), milliseconds.toFixed(2)]);
  }
  for (const session of opened) await session.close();
}
console.log(markdown([['constants', 'rows', 'opened in, s', 'memory, MB', 'batch, ms'], ...rows]));
