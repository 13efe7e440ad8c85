import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Batcher, LocalEngine, type Batch, type BatchResult, type Engine, type Evaluation } from 'srds/engine';
import { Generator } from 'srds/random';
import { float32 } from 'srds/tensor';
import { fixture, reference, ROOT } from './support/fixtures.js';

/** An engine that answers each row with its timestep, when it is told to. */
class ManualEngine implements Engine {
  readonly device = 'manual';
  readonly lanes = [];
  readonly graphs;
  readonly batches: Batch[] = [];
  private readonly answers: (() => void)[] = [];

  constructor(
    timestepDims: readonly string[] = ['batch'],
    readonly slots = 1,
    readonly maxRows = 3,
  ) {
    const inputs = [{ name: 'timestep', type: 'float32', dims: timestepDims }];
    this.graphs = new Map([['unet', { inputs, outputs: [] }]]);
  }

  load(): Promise<void> {
    return Promise.resolve();
  }
  unload(): Promise<void> {
    return Promise.resolve();
  }
  register(): string {
    return '';
  }
  release(): void {}
  close(): Promise<void> {
    return Promise.resolve();
  }
  run(batch: Batch): Promise<BatchResult> {
    this.batches.push(batch);
    const outputs = batch.map(({ inputs }) => [Float32Array.from(inputs.timestep.data as Float32Array)]);
    return new Promise((resolve) =>
      this.answers.push(() => resolve({ outputs, seconds: 0, rows: batch.length, device: 'manual' })),
    );
  }
  async answer(): Promise<void> {
    for (let k = 0; k < 1000 && this.answers.length === 0; k++) await turn();
    this.answers.shift()?.();
    await turn();
  }
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 1));
const at = (t: number): Evaluation => ({
  graph: 'unet',
  output: 'out',
  inputs: { timestep: float32(Float32Array.of(t), []) },
});
const ME = {};
const timesOf = (batches: readonly Batch[]) =>
  batches.map((batch) => batch.map(({ inputs }) => Number(inputs.timestep.data[0])));

test('the most urgent evaluations share the next batch, up to the rows that pay', async () => {
  const engine = new ManualEngine();
  const batcher = new Batcher(engine);
  const results = [
    [2, 1],
    [0, 9],
    [1, 0],
    [1, 2],
    [0, 1],
  ].map((priority, k) => batcher.evaluate(at(k), { priority, requester: ME }));
  await engine.answer();
  await engine.answer();
  assert.deepEqual(timesOf(engine.batches), [
    [4, 1, 2],
    [3, 0],
  ]);
  assert.deepEqual(
    (await Promise.all(results)).map(([row]) => row[0]),
    [0, 1, 2, 3, 4],
  );
});

test('requesters share batches fairly, whatever the priorities; where they fill it, what is speculative takes what is left', async () => {
  for (const [rows, expected] of [
    [
      4,
      [
        [10, 11, 20, 30],
        [12, 13, 14, 21],
      ],
    ],
    [
      3,
      [
        [10, 20, 30],
        [11, 12, 21],
        [13, 14],
      ],
    ],
  ] as const) {
    const engine = new ManualEngine(['batch'], 1, rows);
    const batcher = new Batcher(engine);
    const [a, b, c] = [{}, {}, {}];
    const ask = (t: number, priority: number, requester: object, speculative = false) =>
      batcher.evaluate(at(t), { priority: [priority], requester, speculative });
    const first = [0, 1, 2, 3, 4].map((k) => ask(10 + k, k, a, k > 0));
    const results = [...first, ask(20, 9, b), ask(21, 9, b), ask(30, 0, c, true)];
    for (const batch of expected) {
      await engine.answer();
      assert.ok(batch.length <= rows);
    }
    assert.deepEqual(
      timesOf(engine.batches).map((times) => times.sort()),
      expected,
    );
    await Promise.all(results);
  }
});

test('in a full engine an evaluation that is certain goes before more urgent ones that are not', async () => {
  const engine = new ManualEngine(['batch'], 1, 2);
  const batcher = new Batcher(engine);
  const [a, b] = [{}, {}];
  const ask = (t: number, priority: number, requester: object, speculative: boolean) =>
    batcher.evaluate(at(t), { priority: [priority], requester, speculative });
  const results = [ask(10, 0, a, true), ask(11, 5, a, false), ask(20, 0, b, true), ask(21, 5, b, false)];
  for (let k = 0; k < 2; k++) await engine.answer();
  assert.deepEqual(
    timesOf(engine.batches).map((times) => times.sort()),
    [
      [11, 21],
      [10, 20],
    ],
  );
  await Promise.all(results);
});

test('a batch is no larger than pays for those who ask, and the engine is full when that is asked for', async () => {
  const engine = new ManualEngine(['batch'], 1, 8);
  const batcher = new Batcher(engine);
  const results = [0, 1, 2].map((k) => batcher.evaluate(at(k), { priority: [k], requester: ME, maxRows: 2 }));
  assert.equal(batcher.full, false);
  results.push(batcher.evaluate(at(3), { priority: [0], requester: {}, maxRows: 2 }));
  assert.equal(batcher.full, true);
  await engine.answer();
  await engine.answer();
  assert.deepEqual(
    timesOf(engine.batches).map((times) => times.length),
    [2, 2],
  );
  await Promise.all(results);
});

test('who has ended needs no room, whatever of theirs is under way', async () => {
  const engine = new ManualEngine(['batch'], 1, 1);
  const batcher = new Batcher(engine);
  const controller = new AbortController();
  const running = batcher.evaluate(at(1), { priority: [0], requester: ME, signal: controller.signal });
  await turn();
  assert.equal(batcher.full, true);
  controller.abort();
  assert.equal(batcher.full, false);
  await engine.answer();
  await running;
});

test('a requester takes no more of a batch than it wants, and leaves the rest to others', async () => {
  const engine = new ManualEngine(['batch'], 1, 8);
  const batcher = new Batcher(engine);
  const mine = [0, 1, 2, 3, 4].map((k) => batcher.evaluate(at(k), { priority: [k], requester: ME, ownRows: 2 }));
  const other = {};
  const theirs = [10, 11, 12].map((k) => batcher.evaluate(at(k), { priority: [k], requester: other }));
  for (let batch = 0; batch < 3; batch++) await engine.answer();
  assert.deepEqual(
    timesOf(engine.batches).map((times) => times.toSorted((a, b) => a - b)),
    [[0, 1, 10, 11, 12], [2, 3], [4]],
  );
  await Promise.all([...mine, ...theirs]);
});

test('what waits is spread over free slots', async () => {
  const engine = new ManualEngine(['batch'], 2, 8);
  const batcher = new Batcher(engine);
  const results = [0, 1, 2, 3, 4].map((k) => batcher.evaluate(at(k), { priority: [k], requester: ME }));
  await engine.answer();
  await engine.answer();
  assert.deepEqual(timesOf(engine.batches), [
    [0, 1, 2],
    [3, 4],
  ]);
  await Promise.all(results);
});

test('a batch is filled up to what is not worth splitting before another device gets a share', async () => {
  const engine = new ManualEngine(['batch'], 2, 8);
  const batcher = new Batcher(engine);
  const results = [0, 1, 2, 3].map((k) => batcher.evaluate(at(k), { priority: [k], requester: ME, leastRows: 3 }));
  await engine.answer();
  await engine.answer();
  assert.deepEqual(timesOf(engine.batches), [[0, 1, 2], [3]]);
  await Promise.all(results);
});

test('an aborted evaluation that waits is dropped; one under way is finished', async () => {
  const engine = new ManualEngine();
  const batcher = new Batcher(engine);
  const controller = new AbortController();
  const running = batcher.evaluate(at(1), { priority: [0], requester: ME, signal: controller.signal });
  await turn();
  const waiting = batcher.evaluate(at(2), { priority: [0], requester: ME, signal: controller.signal });
  controller.abort();
  await assert.rejects(waiting, { name: 'AbortError' });
  await engine.answer();
  assert.equal((await running)[0][0], 1);
  await assert.rejects(batcher.evaluate(at(3), { priority: [0], requester: ME, signal: controller.signal }), {
    name: 'AbortError',
  });
  assert.equal(engine.batches.length, 1);
});

test('where the graph takes one timestep for the batch, only equal ones share one', async () => {
  const engine = new ManualEngine([]);
  const batcher = new Batcher(engine);
  const results = [5, 7, 5].map((t, k) => batcher.evaluate(at(t), { priority: [k], requester: ME }));
  await engine.answer();
  await engine.answer();
  assert.deepEqual(timesOf(engine.batches), [[5, 5], [7]]);
  assert.deepEqual(
    (await Promise.all(results)).map(([row]) => row[0]),
    [5, 7, 5],
  );
});

test('an engine that fails rejects the batch and goes on with the next', async () => {
  const engine = new ManualEngine();
  let failed = false;
  const run = engine.run.bind(engine);
  engine.run = (batch) => (failed ? run(batch) : ((failed = true), Promise.reject(new Error('lost'))));
  const batcher = new Batcher(engine);
  await assert.rejects(batcher.evaluate(at(1), { priority: [0], requester: ME }), /lost/);
  const second = batcher.evaluate(at(2), { priority: [0], requester: ME });
  await engine.answer();
  assert.equal((await second)[0][0], 2);
});

/** An evaluation of the bundled UNet at `side` x `side` latents of zeros. */
function zeros(conditioning: readonly string[], { t = 1, side = 32 } = {}): Evaluation {
  const sample = float32(new Float32Array(4 * side * side), [4, side, side]);
  const inputs = { sample, timestep: float32(Float32Array.of(t), []) };
  return { graph: 'unet', output: 'out_sample', inputs, conditioning };
}

/** Registers a text of zeros. */
function zeroText(engine: LocalEngine, length = 32): string[] {
  return [engine.register({ encoder_hidden_states: float32(new Float32Array(length * 128), [length, 128]) })];
}

const UNET = { unet: { path: `${ROOT}models/scenes-128/unet/model.onnx` } };

test('on the CPU every row of a batch is === the row alone, over threads and processes', async () => {
  const random = new Generator(1);
  const rows = Array.from({ length: 5 }, (_, k) => ({
    sample: float32(random.randn(4096), [4, 32, 32]),
    t: 999 - 150 * k,
  }));
  const text = float32(random.randn(32 * 128), [32, 128]);
  const outputs: Float32Array[][] = [];
  for (const options of [{ threads: 1 }, { threads: 2 }, { threads: 1, workers: 2 }]) {
    const engine = await LocalEngine.open(UNET, options);
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

test('one evaluation of a network equals torch', async () => {
  for (const model of ['sd15', 'sd21v']) {
    const probe = reference(`refs/${model}/probe`);
    const engine = await LocalEngine.open({ unet: { path: fixture(`models/${model}/unet/model.onnx`) } });
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

test('a process that is killed is replaced, what it was told is told again, and its batch is run again', async () => {
  for (const workers of [1, 2]) {
    const warnings: string[] = [];
    const engine = await LocalEngine.open(UNET, { workers, onWarning: (message) => warnings.push(message) });
    try {
      const batch = Array<Evaluation>(8).fill(zeros(zeroText(engine)));
      const expected = await engine.run(batch);
      const running = engine.run(batch);
      await delay(50);
      const before = engine.pids;
      process.kill(before[0], 'SIGKILL');
      assert.deepEqual((await running).outputs, expected.outputs);
      assert.deepEqual((await Promise.all([engine.run(batch), engine.run(batch)])).at(1)?.outputs, expected.outputs);
      assert.equal(engine.pids.filter((pid) => !before.includes(pid)).length, 1);
      assert.equal(warnings.length, 1);
      assert.match(warnings[0], /SIGKILL; another takes its place/);
      // One that nobody waits for any more is not.
      const inVain = engine.run(batch, () => false);
      await delay(50);
      for (const pid of engine.pids) process.kill(pid, 'SIGKILL');
      await assert.rejects(inVain, { code: 'ENGINE_FAILED', message: /SIGKILL/ });
      assert.deepEqual((await engine.run(batch)).outputs, expected.outputs);
    } finally {
      await engine.close();
    }
  }
});

test('three processes that die one after the other are an error, from then on; closing still works', async () => {
  const engine = await LocalEngine.open(UNET);
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

test('closing ends a busy process and rejects what it was doing', async () => {
  const engine = await LocalEngine.open(UNET);
  const [pid] = engine.pids;
  const batch = Array<Evaluation>(16).fill(zeros(zeroText(engine)));
  const running = assert.rejects(engine.run(batch), { code: 'ENGINE_FAILED' });
  await engine.close();
  await running;
  assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

test('an evaluation that the graph cannot run is an error, and the process lives on', async () => {
  const engine = await LocalEngine.open(UNET);
  try {
    const text = zeroText(engine);
    await assert.rejects(engine.run([zeros(text, { side: 31 })]), { code: 'ENGINE_FAILED' });
    assert.equal((await engine.run([zeros(text, { side: 8 })])).outputs[0][0].length, 4 * 8 * 8);
  } finally {
    await engine.close();
  }
});

test('answers reach those who asked, also when one that fails overtakes others', async () => {
  const engine = await LocalEngine.open(UNET);
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
    await assert.rejects(engine.run([small(1, text), small(1, short)]), /differ in shape/);
  } finally {
    await engine.close();
  }
});

test('a file that is no graph is refused by name', async () => {
  const file = fixture('models/sd15/model_index.json');
  await assert.rejects(LocalEngine.open({ unet: { path: file } }), (error: Error) => error.message.includes(file));
});
