// A server of the Open Inference Protocol that evaluates the bundled network in a fixed time, in a process of its own; benchmarks start it.
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pLimit from 'p-limit';
import { DeviceEngine, type Evaluation } from 'srds/engine';
import { BUNDLED_MODEL, readModelFolder } from 'srds/model';
import { float32, sizeOf } from 'srds/tensor';
import { OipServer, type OipModel, type OipTensor } from '../test/support/oipServer.js';
import { startServerProcess, type Form, type SleepingServer } from './sleepingServer.js';

const NAME = 'unet';
const OUTPUT = 'out_sample';
/** Shapes of a row. */
const SHAPES = { sample: [4, -1, -1], timestep: [1], encoder_hidden_states: [-1, 128] };

/** Starts a server on a free port. Its evaluations take `milliseconds`, or as long as the CPU needs if that is more. */
export function startNetworkServer(form: Form): Promise<SleepingServer> {
  return startServerProcess(fileURLToPath(import.meta.url), form);
}

async function serve({ milliseconds, maxRows }: Form): Promise<void> {
  const { graphs } = await readModelFolder(BUNDLED_MODEL);
  const engine = await DeviceEngine.open({ [NAME]: { path: graphs[NAME] ?? '', perRow: 'timestep' } }, { threads: 1 });
  const limit = pLimit(1);
  const tensor = (name: string, shape: readonly number[]) => ({ name, datatype: 'FP32', shape: [-1, ...shape] });
  const model: OipModel = {
    name: NAME,
    inputs: Object.entries(SHAPES).map(([name, shape]) => tensor(name, shape)),
    outputs: [tensor(OUTPUT, SHAPES.sample)],
    config: { max_batch_size: maxRows, instance_group: [{ kind: 'KIND_CPU' }] },
    compute: ({ inputs }) => {
      server.received.length = 0;
      return limit(async () => {
        const [output] = await Promise.all([evaluated(engine, inputs), delay(milliseconds)]);
        return output;
      });
    },
  };
  const server = await OipServer.start(model);
  // The benchmark was killed.
  process.once('disconnect', () => process.exit());
  process.send?.(server.device);
}

async function evaluated(engine: DeviceEngine, inputs: ReadonlyMap<string, OipTensor>): Promise<OipTensor> {
  const sample = inputs.get('sample');
  if (!sample) throw new Error('no sample');
  const [rows] = sample.shape;
  const batch = Array.from({ length: rows }, (_, row): Evaluation => {
    const own = [...inputs].map(
      ([
        name,
        {
          shape: [, ...dims],
          bytes,
        },
      ]) => {
        const size = 4 * sizeOf(dims);
        const values = new Float32Array(Uint8Array.from(bytes.subarray(row * size, (row + 1) * size)).buffer);
        return [name, float32(values, name === 'timestep' ? [] : dims)] as const;
      },
    );
    return { graph: NAME, output: OUTPUT, inputs: Object.fromEntries(own) };
  });
  const { outputs } = await engine.run(batch);
  const bytes = Buffer.concat(outputs.flat().map((row) => new Uint8Array(row.buffer, row.byteOffset, row.byteLength)));
  return { ...sample, bytes };
}

if (process.send) await serve({ milliseconds: Number(process.argv[2]), maxRows: Number(process.argv[3]) });
