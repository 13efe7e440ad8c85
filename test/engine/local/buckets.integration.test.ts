import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  DeviceEngine,
  parseDevices,
  type BatchResult,
  type DeviceEngineOptions,
  type Evaluation,
  type OutputRow,
  type Precision,
} from 'srds/engine';
import { Generator } from 'srds/random';
import { float32 } from 'srds/tensor';
import { until } from '../../support/async.js';
import { fixture, ROOT } from '../../support/fixtures.js';
import { changeModel, makeHalf } from '../../support/onnx.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

const random = new Generator(3);
const SAMPLES = Array.from({ length: 5 }, () => float32(random.randn(256), [4, 8, 8]));
const TEXTS = [1, 2].map(() => float32(random.randn(77 * 32), [77, 32]));
const TINY = fixture('models/sd15/unet/model.onnx');
/** Its weights are large enough to see that a process has loaded them. */
const BUNDLED = `${ROOT}models/scenes-128/unet/model.onnx`;

/** The outputs of the tiny UNet for some samples, two rows each. */
async function outputsOf(
  count: number,
  options: DeviceEngineOptions,
  { precision }: { precision?: Precision | 'auto' } = {},
) {
  const engine = await DeviceEngine.open({ unet: { path: TINY, perRow: 'timestep', precision } }, options);
  try {
    const conditioning = TEXTS.map((text) => engine.register({ encoder_hidden_states: text }));
    const batch = SAMPLES.slice(0, count).map((sample, k): Evaluation => ({
      graph: 'unet',
      output: 'out_sample',
      inputs: { sample, timestep: float32(Float32Array.of(990 - 200 * k), []) },
      conditioning,
    }));
    return { result: await engine.run(batch), info: engine.graphs.get('unet')!, maxRows: engine.maxRows };
  } finally {
    await engine.close();
  }
}

const worst = (a: BatchResult['outputs'], b: BatchResult['outputs']) =>
  Math.max(
    ...a.flatMap((rows, e) => rows.flatMap((row, r) => [...row].map((value, k) => Math.abs(value - b[e][r][k])))),
  );

test('batches are padded to a bucket, or split if none holds them; a row is the same in each batch of a bucket', async () => {
  const plain = (await outputsOf(5, {})).result;
  assert.equal(plain.rows, 10);
  const { result, maxRows } = await outputsOf(5, { buckets: [4, 2] });
  assert.deepEqual([result.rows, maxRows], [4 + 4 + 2, 4]);
  assert.ok(worst(result.outputs, plain.outputs) < 1e-4);
  const few = (await outputsOf(3, { buckets: [8] })).result;
  const alone = (await outputsOf(1, { buckets: [8] })).result;
  assert.deepEqual([few.rows, alone.rows], [8, 8]);
  assert.deepEqual(alone.outputs[0], few.outputs[0]);
});

test('a row is === the row alone, whatever conditioning the bucket had before or shares in the batch', async () => {
  const engine = await DeviceEngine.open({ unet: { path: TINY, perRow: 'timestep' } }, { buckets: [6] });
  try {
    const texts = Array.from({ length: 3 }, () => float32(random.randn(77 * 32), [77, 32]));
    const ids = texts.map((text) => engine.register({ encoder_hidden_states: text }));
    const evaluation = (sample: number, ...conditioning: string[]): Evaluation => ({
      graph: 'unet',
      output: 'out_sample',
      inputs: { sample: SAMPLES[sample], timestep: float32(Float32Array.of(500), []) },
      conditioning,
    });
    const [a, b, c] = ids;
    const alone: Record<string, OutputRow> = {};
    for (const id of ids) [[alone[id]]] = (await engine.run([evaluation(0, id)])).outputs;
    assert.notDeepEqual(alone[a], alone[b]);
    for (const batch of [[[b, a]], [[c], [a], [b, b]], [[a]], [[c, a], [a, c], [c]]]) {
      const { outputs } = await engine.run(batch.map((rows) => evaluation(0, ...rows)));
      assert.deepEqual(
        outputs,
        batch.map((rows) => rows.map((id) => alone[id])),
      );
    }
    // Inputs given with the evaluation replace a released one.
    engine.release(b);
    const { graph, output, inputs } = evaluation(0);
    const given = { graph, output, inputs: { ...inputs, encoder_hidden_states: texts[1] } };
    const { outputs } = await engine.run([given]);
    assert.deepEqual(outputs, [[alone[b]]]);
  } finally {
    await engine.close();
  }
});

/** Resident memory of a process, in bytes. */
function residentBytes(pid: number): number {
  const [, pages] = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ').map(Number);
  return 4096 * pages;
}

test(
  'a device opens the bucket that a busy one has, for later batches, and can be closed meanwhile',
  { timeout: 30_000 },
  async () => {
    const texts = [1, 2].map(() => float32(random.randn(32 * 128), [32, 128]));
    for (const wait of [false, true]) {
      const engine = await DeviceEngine.open(
        { unet: { path: BUNDLED, perRow: 'timestep' } },
        { buckets: [4], workers: 2, threads: 1 },
      );
      try {
        const conditioning = texts.map((text) => engine.register({ encoder_hidden_states: text }));
        const batch = SAMPLES.slice(0, 2).map((sample, k): Evaluation => {
          const inputs = { sample, timestep: float32(Float32Array.of(990 - 200 * k), []) };
          return { graph: 'unet', output: 'out_sample', inputs, conditioning };
        });
        const before = engine.pids.map(residentBytes);
        const { outputs } = await engine.run(batch);
        // Each process loads the graph's weights.
        const grown = () => Math.min(...engine.pids.map((pid, k) => residentBytes(pid) - before[k]));
        const devices = new Set<string>();
        const runTwo = async () => {
          for (const { device, outputs: others } of await Promise.all([engine.run(batch), engine.run(batch)])) {
            devices.add(device);
            assert.deepEqual(others, outputs);
          }
        };
        await runTwo();
        assert.deepEqual([...devices].length, 1);
        if (wait) {
          await until(() => grown() >= 30e6);
          while (devices.size < 2) await runTwo();
        }
        conditioning.forEach((id) => engine.release(id));
      } finally {
        await engine.close();
      }
    }
  },
);

test('half precision is near single, with float32 outside; auto leaves a CPU as it is', async () => {
  const single = await outputsOf(2, {});
  const half = await outputsOf(2, {}, { precision: 'float16' });
  const difference = worst(half.result.outputs, single.result.outputs);
  assert.ok(difference > 0 && difference < 0.02, String(difference));
  assert.equal(half.info.precision, 'float16');
  assert.deepEqual(
    [...half.info.inputs, ...half.info.outputs].map(({ type }) => type),
    ['float32', 'float32', 'float32', 'float32'],
  );
  const auto = await outputsOf(2, {}, { precision: 'auto' });
  assert.deepEqual([auto.info.precision, auto.result.outputs], [undefined, single.result.outputs]);
});

test('graphs with float16 inputs and outputs have float32 ones outside', async () => {
  const file = join(scratch, 'half.onnx');
  changeModel(TINY, file, makeHalf);
  for (const buckets of [undefined, [2]]) {
    const engine = await DeviceEngine.open({ unet: { path: file, perRow: 'timestep' } }, { buckets });
    try {
      const info = engine.graphs.get('unet')!;
      assert.ok([...info.inputs, ...info.outputs].every(({ type }) => type === 'float32'));
      const conditioning = [engine.register({ encoder_hidden_states: TEXTS[0] })];
      const inputs = { sample: SAMPLES[0], timestep: float32(Float32Array.of(500), []) };
      const { outputs } = await engine.run([{ graph: 'unet', output: 'out_sample', inputs, conditioning }]);
      assert.ok(outputs[0][0].every(Number.isFinite));
    } finally {
      await engine.close();
    }
  }
  // A float16 file next to the float32 one is used only if half precision is wanted.
  const given = (precision: Precision | 'auto') => ({ path: TINY, half: file, precision });
  const engine = await DeviceEngine.open({ single: given('float32'), auto: given('auto'), half: given('float16') });
  try {
    const precisions = ['single', 'auto', 'half'].map((name) => engine.graphs.get(name)!.precision);
    assert.deepEqual(precisions, [undefined, undefined, 'float16']);
  } finally {
    await engine.close();
  }
});

test('a bucket that memory is too small for is dropped, and the batch runs in smaller ones', async () => {
  const warnings: string[] = [];
  const engine = await DeviceEngine.open(
    { unet: { path: fixture('models/sd21v/unet/model.onnx'), perRow: 'timestep' } },
    { buckets: [2, 8, 4096], threads: 1, onWarning: (message) => warnings.push(message) },
  );
  try {
    const text = float32(new Float32Array(77 * 32), [77, 32]);
    const evaluation: Evaluation = {
      graph: 'unet',
      output: 'out_sample',
      inputs: { sample: float32(random.randn(4096), [4, 32, 32]), timestep: float32(Float32Array.of(500), []) },
      conditioning: [engine.register({ encoder_hidden_states: text })],
    };
    const run = (size: number) => engine.run(Array.from({ length: size }, () => evaluation));
    await run(8);
    // The process may grow by one gibibyte, far less than 4096 rows need.
    const pid = String(engine.pids[0]);
    const kibibytes = Number(/VmData:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
    execFileSync('prlimit', ['--pid', pid, `--data=${(kibibytes + 2 ** 20) * 1024}`]);
    const { rows, outputs } = await run(12);
    assert.equal(rows, 16);
    assert.ok(outputs.every(([row]) => row.every((value, k) => value === outputs[0][0][k] && Number.isFinite(value))));
    assert.deepEqual(engine.buckets, [2, 8]);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], /cpu .*memory.* 8 rows/);
    assert.deepEqual(engine.pids.map(String), [pid]);
  } finally {
    await engine.close();
  }
});

/** The target of a link; empty if it no longer exists, like the descriptor that lists the others. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

test('no channel is left behind, whether a process ends or is killed', async () => {
  const folder = process.platform === 'linux' ? '/dev/shm' : tmpdir();
  const mine = () => readdirSync(folder).filter((name) => name.startsWith('srds-'));
  const before = mine();
  const engine = await DeviceEngine.open({ unet: { path: TINY } });
  if (process.platform === 'linux') {
    const files = readdirSync('/proc/self/fd')
      .map((fd) => linkOf(`/proc/self/fd/${fd}`))
      .filter((name) => name.includes('/channel'));
    assert.ok(files.length > 0 && files.every((name) => name.endsWith('(deleted)')), files.join());
  }
  const opened = mine().filter((name) => !before.includes(name));
  for (const pid of engine.pids) process.kill(pid, 'SIGKILL');
  await engine.close();
  // Those of other tests that run at the same time go too.
  await until(() => !mine().some((name) => opened.includes(name)));
});

test('devices are parsed from their names', () => {
  assert.equal(parseDevices('auto'), 'auto');
  assert.deepEqual(parseDevices('cuda, cuda:1,cpu,webgpu'), [
    { kind: 'cuda', index: 0 },
    { kind: 'cuda', index: 1 },
    { kind: 'cpu', index: 0 },
    { kind: 'webgpu', index: 0 },
  ]);
  for (const bad of [
    '',
    'gpu',
    'cuda:',
    'cuda:x',
    'cuda:1:2',
    'cpu:0',
    'cpu,cpu',
    'cuda,cuda:0',
    'auto,cpu',
    'cuda:-1',
  ]) {
    assert.throws(() => parseDevices(bad), { code: 'INVALID_OPTION' }, bad);
  }
});

test('invalid batch sizes, and no devices, are refused', async () => {
  const files = { unet: { path: fixture('models/sd15/unet/model.onnx') } };
  for (const options of [{ buckets: [] }, { buckets: [0] }, { buckets: [1.5] }, { buckets: [1e6] }, { devices: [] }]) {
    await assert.rejects(DeviceEngine.open(files, options), { code: 'INVALID_OPTION' });
  }
});
