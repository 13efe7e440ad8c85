import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Batcher, type Batch, type BatchResult, type Engine, type Evaluation } from 'srds/engine';
import { float32 } from 'srds/tensor';

/** An engine that answers each row with its timestep, when the test releases it. */
class ManualEngine implements Engine {
  readonly device = 'manual';
  readonly buckets = [];
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
  ].map((priority, k) => batcher.evaluate(at(k), { priority, client: ME }));
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

test('clients share batches fairly, whatever the priorities; when contended, speculation takes what is left', async () => {
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
    const ask = (t: number, priority: number, client: object, speculative = false) =>
      batcher.evaluate(at(t), { priority: [priority], client, speculative });
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

test('the batcher tells whose speculation has waited for other clients; alone, or for another graph, none does', async () => {
  const engine = new ManualEngine(['batch', 'other'], 1, 2);
  const batcher = new Batcher(engine);
  const ask = (t: number, client: object, speculative: boolean, graph = 'batch') =>
    batcher.evaluate({ ...at(t), graph }, { priority: [t], client, speculative });
  const [alone, decoder, a, b] = [{}, {}, {}, {}];
  const first = [ask(1, alone, false), ask(2, alone, true), ask(3, alone, true), ask(4, decoder, false, 'other')];
  for (let k = 0; k < 3; k++) await engine.answer();
  await Promise.all(first);
  assert.ok(!batcher.delaysSpeculation(alone));
  const second = [ask(1, a, false), ask(2, a, true), ask(3, b, false)];
  for (let k = 0; k < 2; k++) await engine.answer();
  await Promise.all(second);
  assert.deepEqual(
    [a, b].map((client) => batcher.delaysSpeculation(client)),
    [true, false],
  );
});

test('in a full engine a certain evaluation goes before more urgent speculative ones', async () => {
  const engine = new ManualEngine(['batch'], 1, 2);
  const batcher = new Batcher(engine);
  const [a, b] = [{}, {}];
  const ask = (t: number, priority: number, client: object, speculative: boolean) =>
    batcher.evaluate(at(t), { priority: [priority], client, speculative });
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

test('a batch is no larger than its clients allow, and then the engine is full', async () => {
  const engine = new ManualEngine(['batch'], 1, 8);
  const batcher = new Batcher(engine);
  const results = [0, 1, 2].map((k) => batcher.evaluate(at(k), { priority: [k], client: ME, maxRows: 2 }));
  assert.equal(batcher.full, false);
  results.push(batcher.evaluate(at(3), { priority: [0], client: {}, maxRows: 2 }));
  assert.equal(batcher.full, true);
  await engine.answer();
  await engine.answer();
  assert.deepEqual(
    timesOf(engine.batches).map((times) => times.length),
    [2, 2],
  );
  await Promise.all(results);
});

test('a client that was answered and asks no more takes no slots', async () => {
  const engine = new ManualEngine(['batch'], 1, 1);
  const batcher = new Batcher(engine);
  const answered = batcher.evaluate(at(1), { priority: [0], client: ME }).then(() => batcher.full);
  await turn();
  assert.equal(batcher.full, true);
  await engine.answer();
  assert.equal(await answered, false);
});

test('a client whose run has ended takes no slots, even while its evaluations run', async () => {
  const engine = new ManualEngine(['batch'], 1, 1);
  const batcher = new Batcher(engine);
  const controller = new AbortController();
  const running = batcher.evaluate(at(1), { priority: [0], client: ME, signal: controller.signal });
  await turn();
  assert.equal(batcher.full, true);
  controller.abort();
  assert.equal(batcher.full, false);
  await engine.answer();
  await running;
});

test('a client takes no more of a batch than it wants, and leaves the rest to others', async () => {
  const engine = new ManualEngine(['batch'], 1, 8);
  const batcher = new Batcher(engine);
  const mine = [0, 1, 2, 3, 4].map((k) => batcher.evaluate(at(k), { priority: [k], client: ME, maxClientRows: 2 }));
  const other = {};
  const theirs = [10, 11, 12].map((k) => batcher.evaluate(at(k), { priority: [k], client: other }));
  for (let batch = 0; batch < 3; batch++) await engine.answer();
  assert.deepEqual(
    timesOf(engine.batches).map((times) => times.toSorted((a, b) => a - b)),
    [[0, 1, 10, 11, 12], [2, 3], [4]],
  );
  await Promise.all([...mine, ...theirs]);
});

test('pending evaluations are spread over free slots', async () => {
  const engine = new ManualEngine(['batch'], 2, 8);
  const batcher = new Batcher(engine);
  const results = [0, 1, 2, 3, 4].map((k) => batcher.evaluate(at(k), { priority: [k], client: ME }));
  await engine.answer();
  await engine.answer();
  assert.deepEqual(timesOf(engine.batches), [
    [0, 1, 2],
    [3, 4],
  ]);
  await Promise.all(results);
});

test('a batch is filled to its minimum rows before another device gets a share', async () => {
  const engine = new ManualEngine(['batch'], 2, 8);
  const batcher = new Batcher(engine);
  const results = [0, 1, 2, 3].map((k) => batcher.evaluate(at(k), { priority: [k], client: ME, minRows: 3 }));
  await engine.answer();
  await engine.answer();
  assert.deepEqual(timesOf(engine.batches), [[0, 1, 2], [3]]);
  await Promise.all(results);
});

test('an aborted evaluation that waits is dropped; one under way is finished', async () => {
  const engine = new ManualEngine();
  const batcher = new Batcher(engine);
  const controller = new AbortController();
  const running = batcher.evaluate(at(1), { priority: [0], client: ME, signal: controller.signal });
  await turn();
  const waiting = batcher.evaluate(at(2), { priority: [0], client: ME, signal: controller.signal });
  controller.abort();
  await assert.rejects(waiting, { name: 'AbortError' });
  await engine.answer();
  assert.equal((await running)[0][0], 1);
  await assert.rejects(batcher.evaluate(at(3), { priority: [0], client: ME, signal: controller.signal }), {
    name: 'AbortError',
  });
  assert.equal(engine.batches.length, 1);
});

test('where the graph takes one timestep for the batch, only equal ones share one', async () => {
  const engine = new ManualEngine([]);
  const batcher = new Batcher(engine);
  const results = [5, 7, 5].map((t, k) => batcher.evaluate(at(t), { priority: [k], client: ME }));
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
  await assert.rejects(batcher.evaluate(at(1), { priority: [0], client: ME }), /lost/);
  const second = batcher.evaluate(at(2), { priority: [0], client: ME });
  await engine.answer();
  assert.equal((await second)[0][0], 2);
});

test('rows of images are bytes, other rows are float32, and neither is taken for the other', async () => {
  const engine = new ManualEngine();
  const bytes = Uint8Array.of(1, 2, 3);
  const run = engine.run.bind(engine);
  engine.run = async (batch) => {
    const result = await run(batch);
    return batch[0].output === 'image' ? { ...result, outputs: batch.map(() => [bytes]) } : result;
  };
  const batcher = new Batcher(engine);
  const options = { priority: [0], client: ME };
  const answered = async <Rows>(rows: Promise<Rows>) => {
    rows.catch(() => undefined);
    await engine.answer();
    return rows;
  };
  const image = { ...at(1), output: 'image' };
  assert.deepEqual(await answered(batcher.evaluateImages(image, options)), [bytes]);
  assert.deepEqual(await answered(batcher.evaluate(at(1), options)), [Float32Array.of(1)]);
  await assert.rejects(answered(batcher.evaluate(image, options)), /images/);
  await assert.rejects(answered(batcher.evaluateImages(at(1), options)), /float32/);
});
