// A server of the Open Inference Protocol whose evaluations take a fixed time, in a process of its own; benchmarks start it.
import { fork, type ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pLimit from 'p-limit';
import { OipServer, type OipModel, type OipTensor } from '../test/support/oipServer.js';

/** Shape of a row: 64 KB. */
export const DIMS = [4, 64, 64];

/** What the server does. */
export interface Form {
  /** Milliseconds of an evaluation, whatever its rows; a server has one at a time. 0: it answers at once. */
  readonly milliseconds: number;
  /** Rows of its largest batch. */
  readonly maxRows: number;
}

/** A server in a process of its own. */
export interface SleepingServer {
  /** Name of the device. */
  readonly device: string;
  stop(): Promise<void>;
}

/** Starts a server on a free port. */
export function startSleepingServer(form: Form): Promise<SleepingServer> {
  return startServerProcess(fileURLToPath(import.meta.url), form);
}

/** Runs a file that sends the name of its device once it serves. */
export async function startServerProcess(file: string, { milliseconds, maxRows }: Form): Promise<SleepingServer> {
  const child = fork(file, [String(milliseconds), String(maxRows)]);
  const device = await new Promise<string>((resolve, reject) => {
    child.once('message', (message) => resolve(message as string));
    child.once('exit', () => reject(new Error('the server ended')));
  });
  return { device, stop: () => ended(child) };
}

async function ended(child: ChildProcess): Promise<void> {
  const exit = new Promise((resolve) => child.once('exit', resolve));
  // Node 20 may not end by itself after its connections were reset: it goes on closing handles.
  child.kill('SIGKILL');
  await exit;
}

async function serve({ milliseconds, maxRows }: Form): Promise<void> {
  const limit = pLimit(1);
  const model: OipModel = {
    name: 'unet',
    inputs: [
      { name: 'sample', datatype: 'FP32', shape: [-1, ...DIMS] },
      { name: 'timestep', datatype: 'FP32', shape: [-1, 1] },
    ],
    outputs: [{ name: 'out_sample', datatype: 'FP32', shape: [-1, ...DIMS] }],
    config: { max_batch_size: maxRows },
    compute: ({ inputs }) => {
      server.received.length = 0;
      const sample = inputs.get('sample');
      if (!sample) throw new Error('no sample');
      return milliseconds === 0 ? sample : limit(() => evaluated(sample, milliseconds));
    },
  };
  const server = await OipServer.start(model);
  // The benchmark was killed.
  process.once('disconnect', () => process.exit());
  process.send?.(server.device);
}

/** tanh of the sample. A network that is not linear takes SRDS through states that differ in every iteration. */
async function evaluated({ datatype, shape, bytes }: OipTensor, milliseconds: number): Promise<OipTensor> {
  const end = performance.now() + milliseconds;
  const output = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4).map(Math.tanh);
  await delay(end - performance.now());
  return { datatype, shape, bytes: new Uint8Array(output.buffer) };
}

if (process.send && process.argv[1] === fileURLToPath(import.meta.url))
  await serve({ milliseconds: Number(process.argv[2]), maxRows: Number(process.argv[3]) });
