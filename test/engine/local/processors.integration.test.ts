import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { SrdsError } from 'srds';
import { DeviceEngine, type Evaluation, type OutputRow } from 'srds/engine';
import { readModelFolder } from 'srds/model';
import { Generator } from 'srds/random';
import { float32 } from 'srds/tensor';
import { CPU } from '../../../src/engine/device.js';
import { LocalDevice } from '../../../src/engine/local/localDevice.js';
import { graphFiles } from '../../../src/model/modelFolder.js';
import type { GraphInfo } from '../../../src/onnx/graphInfo.js';
import { nextTurn } from '../../support/async.js';
import { fixture, reference, ROOT } from '../../support/fixtures.js';

/** An evaluation of a tiny UNet at `side` x `side` latents of zeros. */
function zeros(conditioning: readonly string[], { t = 1, side = 16 } = {}): Evaluation {
  const sample = float32(new Float32Array(4 * side * side), [4, side, side]);
  const inputs = { sample, timestep: float32(Float32Array.of(t), []) };
  return { graph: 'unet', output: 'out_sample', inputs, conditioning };
}

/** Registers a text of zeros. */
function zeroText(engine: DeviceEngine, length = 77): string[] {
  return [engine.register({ encoder_hidden_states: float32(new Float32Array(length * 32), [length, 32]) })];
}

const UNET = { unet: { path: fixture('models/sd15/unet/model.onnx'), perRow: 'timestep' } };
const BUNDLED = { unet: { path: `${ROOT}models/scenes-128/unet/model.onnx` } };

test('on the CPU every row of a batch is === the row alone, over threads and processes', async () => {
  const random = new Generator(1);
  const rows = Array.from({ length: 3 }, (_, k) => ({
    sample: float32(random.randn(4096), [4, 32, 32]),
    t: 999 - 300 * k,
  }));
  const text = float32(random.randn(32 * 128), [32, 128]);
  const outputs: OutputRow[][] = [];
  for (const options of [{ threads: 1 }, { threads: 2 }, { threads: 1, workers: 2 }]) {
    const engine = await DeviceEngine.open(BUNDLED, options);
    try {
      const conditioning = [engine.register({ encoder_hidden_states: text })];
      const batch = rows.map(({ sample, t }) => ({
        graph: 'unet',
        output: 'out_sample',
        inputs: { sample, timestep: float32(Float32Array.of(t), []) },
        conditioning,
      }));
      outputs.push((await engine.run(batch)).outputs.map(([row]) => row));
      const alone = await Promise.all(batch.map((evaluation) => engine.run([evaluation])));
      outputs.push(alone.flatMap(({ outputs: [[row]] }) => row));
    } finally {
      await engine.close();
    }
  }
  for (const other of outputs.slice(1)) assert.deepEqual(other, outputs[0]);
});

test('on the CPU every row of a batch of a narrow UNet is === the row alone, in batches padded to even numbers of rows', async () => {
  for (const model of ['sd15', 'sd21v']) {
    const probe = reference(`refs/${model}/probe`);
    const dims = probe.shape('sample').slice(1);
    const text = float32(probe.floats('encoder_hidden_states'), probe.shape('encoder_hidden_states').slice(1));
    const { unet } = graphFiles(await readModelFolder(fixture(`models/${model}`)), 'auto');
    const engine = await DeviceEngine.open({ unet }, { threads: 2 });
    try {
      const conditioning = [engine.register({ encoder_hidden_states: text })];
      const random = new Generator(1);
      const rows = Array.from({ length: 9 }, (_, k): Evaluation => {
        const sample = float32(random.randn(dims.reduce((a, b) => a * b)), dims);
        const inputs = { sample, timestep: float32(Float32Array.of(900 - 90 * k), []) };
        return { graph: 'unet', output: 'out_sample', inputs, conditioning };
      });
      const alone = await Promise.all(rows.map((row) => engine.run([row])));
      for (let count = 2; count <= rows.length; count++) {
        const { outputs } = await engine.run(rows.slice(0, count));
        assert.deepEqual(
          outputs,
          alone.slice(0, count).flatMap((one) => one.outputs),
        );
      }
    } finally {
      await engine.close();
    }
  }
});

test('one evaluation of a network equals torch', async () => {
  for (const model of ['sd15', 'sd21v']) {
    const probe = reference(`refs/${model}/probe`);
    const engine = await DeviceEngine.open({ unet: { path: fixture(`models/${model}/unet/model.onnx`) } });
    try {
      const [rows, ...dims] = probe.shape('sample');
      const size = dims.reduce((a, b) => a * b);
      const text = float32(probe.floats('encoder_hidden_states'), probe.shape('encoder_hidden_states').slice(1));
      const conditioning = [engine.register({ encoder_hidden_states: text })];
      const [samples, expected, times] = [
        probe.floats('sample'),
        probe.floats('out_sample'),
        probe.numbers('timestep'),
      ];
      for (let k = 0; k < rows; k++) {
        const inputs = {
          sample: float32(samples.slice(k * size, (k + 1) * size), dims),
          timestep: float32(Float32Array.of(times[k]), []),
        };
        const { outputs } = await engine.run([{ graph: 'unet', output: 'out_sample', inputs, conditioning }]);
        outputs[0][0].forEach((value, j) => assert.ok(Math.abs(value - expected[k * size + j]) < 1e-5));
      }
    } finally {
      await engine.close();
    }
  }
});

test('a process that is killed is replaced, with its registered inputs, and its batch runs again', async () => {
  for (const workers of [1, 2]) {
    const warnings: string[] = [];
    const engine = await DeviceEngine.open(UNET, { workers, onWarning: (message) => warnings.push(message) });
    try {
      const batch = Array<Evaluation>(8).fill(zeros(zeroText(engine)));
      const expected = await engine.run(batch);
      const running = engine.run(batch);
      await nextTurn();
      const before = engine.pids;
      process.kill(before[0], 'SIGKILL');
      assert.deepEqual((await running).outputs, expected.outputs);
      assert.deepEqual((await Promise.all([engine.run(batch), engine.run(batch)])).at(1)?.outputs, expected.outputs);
      assert.equal(engine.pids.filter((pid) => !before.includes(pid)).length, 1);
      assert.equal(warnings.length, 1);
      assert.match(warnings[0], /SIGKILL.*another takes its place/);
      // A batch that is no longer wanted is not run again.
      const unwanted = engine.run(batch, { isWanted: () => false });
      await nextTurn();
      for (const pid of engine.pids) process.kill(pid, 'SIGKILL');
      await assert.rejects(unwanted, { code: 'ENGINE_FAILED', message: /SIGKILL/ });
      assert.deepEqual((await engine.run(batch)).outputs, expected.outputs);
    } finally {
      await engine.close();
    }
  }
});

test('where a process that takes the place of another cannot load the graphs, the next batch loads them', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'srds-'));
  const path = join(folder, 'model.onnx');
  cpSync(fixture('models/sd15/unet'), folder, { recursive: true });
  const good = readFileSync(path);
  // A file that is broken for a moment, with the stamp that it had, as memory may be short for a moment.
  const put = (content: Uint8Array) => {
    writeFileSync(path, content);
    utimesSync(path, 1000, 1000);
  };
  put(good);
  const engine = await DeviceEngine.open({ unet: { path, perRow: 'timestep' } }, { threads: 1 });
  try {
    const batch = [zeros(zeroText(engine))];
    const { outputs } = await engine.run(batch);
    put(new Uint8Array(good.length));
    process.kill(engine.pids[0], 'SIGSTOP');
    const running = engine.run(batch);
    await nextTurn();
    process.kill(engine.pids[0], 'SIGKILL');
    await assert.rejects(running, { code: 'MODEL_INVALID' });
    const [pid] = engine.pids;
    await assert.rejects(engine.run(batch), { code: 'MODEL_INVALID' });
    put(good);
    assert.deepEqual((await engine.run(batch)).outputs, outputs);
    assert.deepEqual(engine.pids, [pid]);
  } finally {
    await engine.close();
    rmSync(folder, { recursive: true });
  }
});

test('registered inputs are those of the batch, also after one that gave its own', async () => {
  const random = new Generator(3);
  const [known, given] = [1, 2].map(() => float32(random.randn(77 * 32), [77, 32]));
  for (const buckets of [undefined, [1]]) {
    const engine = await DeviceEngine.open(UNET, { threads: 1, buckets });
    try {
      const registered = zeros([engine.register({ encoder_hidden_states: known })]);
      const own = { ...registered, inputs: { ...registered.inputs, encoder_hidden_states: given } };
      const outputOf = async (evaluation: Evaluation) => (await engine.run([evaluation])).outputs;
      const first = await outputOf(registered);
      assert.notDeepEqual(await outputOf(own), first);
      assert.deepEqual(await outputOf(registered), first);
    } finally {
      await engine.close();
    }
  }
});

test('a batch of a process that the kernel ended for want of memory runs in smaller ones, another one as it is', async () => {
  for (const counts of [true, false, undefined]) {
    // The kernel's count grows with each process that it ends for memory; not all systems have one.
    let kills = 0;
    const warnings: string[] = [];
    const text = { encoder_hidden_states: float32(new Float32Array(77 * 32), [77, 32]) };
    const registered = new Map([['text', text]]);
    const state = { files: UNET, loaded: new Map<string, GraphInfo>(), registered };
    const reports = { onWarning: (message: string) => warnings.push(message), onRestart: () => undefined };
    const settings = { device: CPU, threads: 1, buckets: [], fused: false, cApi: false };
    const count = () => (counts === undefined ? undefined : kills);
    const device = new LocalDevice(settings, state, undefined, reports, 'cpu', count);
    try {
      state.loaded.set('unet', (await device.loadGraphs(['unet'])).unet);
      device.register('text', text);
      const kill = async (rows: number) => {
        const running = device.run(Array<Evaluation>(rows).fill(zeros(['text'])), {});
        await nextTurn();
        if (counts === true) kills++;
        process.kill(device.pid!, 'SIGKILL');
        return running;
      };
      const { outputs } = await device.run([zeros(['text'])], {});
      for (const [row] of (await kill(8)).outputs) assert.deepEqual(row, outputs[0][0]);
      const isForMemory = counts !== false;
      assert.equal(/memory.* at most 2 rows/.test(warnings[0]), isForMemory, warnings[0]);
      if (isForMemory) {
        await assert.rejects(kill(1), {
          code: 'ENGINE_FAILED',
          message: /memory for a batch of 1 row on cpu.*SIGKILL/,
        });
      } else {
        assert.deepEqual((await kill(1)).outputs, outputs);
      }
      assert.deepEqual((await device.run([zeros(['text'])], {})).outputs, outputs);
    } finally {
      await device.close();
    }
  }
});

test('a batch that memory is too small for runs in smaller ones, in the same process, and so do the next', async () => {
  const warnings: string[] = [];
  const engine = await DeviceEngine.open(UNET, { threads: 1, onWarning: (message) => warnings.push(message) });
  try {
    const [id] = zeroText(engine);
    // One row takes 33 MB at 32 x 32 latents, and 530 MB at 64 x 64.
    const evaluation = (side: number) => zeros([id, id], { side });
    const small = await engine.run([evaluation(8)]);
    const [pid] = engine.pids;
    const kibibytes = Number(/VmData:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
    execFileSync('prlimit', ['--pid', String(pid), `--data=${(kibibytes + 110 * 1024) * 1024}`]);
    for (let run = 0; run < 2; run++) {
      const { outputs, rows } = await engine.run(Array<Evaluation>(4).fill(evaluation(32)));
      assert.equal(rows, 8);
      const [[first]] = outputs;
      assert.deepEqual([outputs.length, first.length], [4, 4 * 32 * 32]);
      assert.ok(outputs.every((pair) => pair.length === 2 && pair.every((row) => row[99] === first[99])));
    }
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], /cpu has no memory for a batch of 8 rows; it goes on with at most 2 rows at a time/);
    // Other shapes are not limited.
    assert.deepEqual((await engine.run([evaluation(8)])).outputs, small.outputs);
    await assert.rejects(engine.run([evaluation(64)]), {
      code: 'ENGINE_FAILED',
      message: /memory for a batch of 1 row on cpu/,
    });
    assert.deepEqual(engine.pids, [pid]);
  } finally {
    await engine.close();
  }
});

test('three processes that die one after the other are an error from then on; closing still works', async () => {
  const engine = await DeviceEngine.open(UNET);
  const batch = Array<Evaluation>(8).fill(zeros(zeroText(engine)));
  const killed = new Set<number>();
  const killing = setInterval(() => {
    for (const pid of engine.pids.filter((pid) => !killed.has(pid))) {
      killed.add(pid);
      process.kill(pid, 'SIGKILL');
    }
  }, 5);
  await assert.rejects(engine.run(batch), { code: 'ENGINE_FAILED', message: /SIGKILL/ });
  clearInterval(killing);
  assert.equal(killed.size, 3);
  await assert.rejects(engine.run(batch), { code: 'ENGINE_FAILED' });
  await engine.close();
});

test('closing ends a busy process and rejects its batch', async () => {
  const engine = await DeviceEngine.open(UNET);
  const [pid] = engine.pids;
  const batch = Array<Evaluation>(16).fill(zeros(zeroText(engine)));
  const running = assert.rejects(engine.run(batch), { code: 'ENGINE_FAILED' });
  await engine.close();
  await running;
  assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

test('an evaluation that the graph cannot run is an error, and the process lives on', async () => {
  const engine = await DeviceEngine.open(UNET);
  try {
    const text = zeroText(engine);
    await assert.rejects(engine.run([zeros(text, { side: 31 })]), { code: 'MODEL_INVALID' });
    assert.equal((await engine.run([zeros(text, { side: 8 })])).outputs[0][0].length, 4 * 8 * 8);
  } finally {
    await engine.close();
  }
});

test('replies reach their requests, also when a failure overtakes others', async () => {
  const engine = await DeviceEngine.open(UNET);
  try {
    const text = zeroText(engine);
    const small = (t: number, ids: readonly string[]) => zeros(ids, { t, side: 8 });
    const one = async (t: number) => (await engine.run([small(t, text)])).outputs[0][0];
    const alone = [await one(10), await one(900)];
    const [a, bad, b] = await Promise.allSettled([one(10), engine.run([small(5, ['unknown'])]), one(900)]);
    assert.equal(bad.status, 'rejected');
    assert.deepEqual(
      [a, b].map((settled) => settled.status === 'fulfilled' && settled.value),
      alone,
    );
    const short = zeroText(engine, 8);
    await assert.rejects(engine.run([small(1, text), small(1, short)]), { code: 'ENGINE_FAILED', message: /shape/ });
  } finally {
    await engine.close();
  }
});

test('a file that is no graph is refused by name', async () => {
  const file = fixture('models/sd15/model_index.json');
  await assert.rejects(DeviceEngine.open({ unet: { path: file } }), (error: SrdsError) => {
    assert.equal(error.code, 'MODEL_INVALID');
    return error.message.includes(file);
  });
});
