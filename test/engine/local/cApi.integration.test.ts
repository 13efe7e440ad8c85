import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { TensorProto_DataType } from 'onnx-buf';
import type { Evaluation, OutputRow } from 'srds/engine';
import { Generator } from 'srds/random';
import { float32, type Tensor } from 'srds/tensor';
import { OrtApi } from '../../../src/engine/cuda/ortApi.js';
import { CApiFailure, CApiSessions, checkOutput } from '../../../src/engine/local/cApiSessions.js';
import { BucketPool } from '../../../src/engine/local/bucketPool.js';
import { GraphSessions } from '../../../src/engine/local/graphSessions.js';
import { LocalDevice } from '../../../src/engine/local/localDevice.js';
import { SharedChannel } from '../../../src/engine/local/sharedChannel.js';
import { readOutputs, writeBatch } from '../../../src/engine/local/wireBatch.js';
import type { GraphFile, GraphInfo } from '../../../src/onnx/graphInfo.js';
import { retype } from '../../../src/onnx/elementTypes.js';
import { prepareModel } from '../../../src/onnx/prepare.js';
import { nextTurn } from '../../support/async.js';
import { fixture } from '../../support/fixtures.js';
import { observed } from '../../support/observedApi.js';
import { changeModel, writeSmall } from '../../support/onnx.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));
process.env.XDG_CACHE_HOME = join(scratch, 'cache');

const random = new Generator(3);
const TEXTS = {
  ...Object.fromEntries(
    ['a', 'b', 'c'].map((id) => [id, { encoder_hidden_states: float32(random.randn(77 * 32), [77, 32]) }]),
  ),
  long: { encoder_hidden_states: float32(random.randn(99 * 32), [99, 32]) },
};

function evaluation(k: number, conditioning: readonly string[], side = 8): Evaluation {
  const sample = float32(random.randn(4 * side * side), [4, side, side]);
  const inputs = { sample, timestep: float32(Float32Array.of(999 - 100 * k), []) };
  return { graph: 'unet', output: 'out_sample', inputs, conditioning };
}

const SETTINGS = {
  device: { kind: 'cpu', index: 0 },
  threads: 1,
  buckets: [1, 2, 4],
  fused: false,
  cApi: true,
} as const;

/** A CPU with buckets, as GPUs have them, with sessions over the C API or plain ones. */
async function openDevice(
  cApi: boolean,
  file: GraphFile,
  warnings: string[] = [],
  fused = false,
): Promise<LocalDevice> {
  const settings = { ...SETTINGS, cApi, fused };
  const registered = new Map<string, Readonly<Record<string, Tensor>>>(Object.entries(TEXTS));
  const state = { files: { unet: file }, loaded: new Map<string, GraphInfo>(), registered };
  const device = new LocalDevice(settings, state, undefined, {
    onWarning: (warning) => warnings.push(warning),
    onRestart: () => undefined,
  });
  const { unet } = await device.loadGraphs(['unet']);
  state.loaded.set('unet', unet);
  for (const [id, inputs] of registered) device.register(id, inputs);
  return device;
}

const UNET = { path: fixture('models/sd15/unet/model.onnx'), perRow: 'timestep', replayed: true };

test('over the C API a batch is === that of plain sessions: padded, in parts, of another size, with more conditioning', async () => {
  const batches = [
    [evaluation(0, ['a', 'b'])],
    [evaluation(1, ['a', 'b'])],
    [evaluation(2, ['b'])],
    [evaluation(3, ['a', 'b']), evaluation(4, ['a', 'c'])],
    [1, 2, 3].map((k) => evaluation(k, ['a', 'c'])),
    [evaluation(5, ['b', 'a'], 16)],
    [evaluation(6, ['a', 'b'])],
  ];
  const warnings: string[] = [];
  const devices = [await openDevice(true, UNET, warnings), await openDevice(false, UNET)];
  try {
    for (const batch of batches) {
      const [native, plain] = await Promise.all(devices.map((device) => device.run(batch, {})));
      assert.deepEqual(native.outputs, plain.outputs);
    }
    assert.deepEqual(warnings, []);
  } finally {
    await Promise.all(devices.map((device) => device.close()));
  }
});

/** Runs a batch of one evaluation in sessions of this process, with an API that may fail. */
async function runWith(
  api: OrtApi,
  batch: readonly Evaluation[] = BATCH,
): Promise<{ rows: OutputRow; plain: string | undefined; buckets: unknown }> {
  const channel = SharedChannel.create();
  const graph = await GraphSessions.open(UNET, { ...SETTINGS, channel: channel.path }, new BucketPool(), api);
  try {
    const registered = new Map(Object.entries(TEXTS));
    const { wire } = writeBatch(batch, channel);
    const { slower, buckets, ...output } = await graph.run(wire, registered, channel);
    return { rows: readOutputs(batch, output, channel).flat()[1], plain: slower?.why, buckets };
  } finally {
    await graph.close();
    channel.remove();
    channel.close();
  }
}

const BATCH = [evaluation(0, ['a', 'b'])];

test('where the C API fails, or gives another output, plain sessions serve and say why', async () => {
  const api = await OrtApi.load();
  const right = await runWith(api);
  assert.equal(right.plain, undefined);
  const failing = observed(api, (name) => {
    if (name === 'CreateIoBinding') throw new Error('no kernel');
  });
  const fallback = await runWith(failing);
  assert.deepEqual(fallback.rows, right.rows);
  assert.equal(fallback.plain, 'no kernel');
  // That of the first one was compared.
  rmSync(process.env.XDG_CACHE_HOME!, { recursive: true });
  // The run that learns the output's shape is the only one that happens.
  let runs = 0;
  const call: OrtApi['call'] = (name, ...args) => {
    if (name !== 'RunWithBinding' || runs++ === 0) api.call(name, ...args);
  };
  const wrong = await runWith(Object.create(api, { call: { value: call } }) as OrtApi);
  assert.deepEqual(wrong.rows, right.rows);
  assert.match(wrong.plain ?? '', /differs/);
});

test('a batch that fails leaves the next ones as they should be', async () => {
  const devices = [await openDevice(true, UNET), await openDevice(false, UNET)];
  try {
    const good = [evaluation(1, ['a', 'b'])];
    for (const device of devices) {
      const { outputs } = await device.run(good, {});
      device.register('short', { encoder_hidden_states: float32(random.randn(32), [1, 32]) });
      await assert.rejects(device.run([evaluation(1, ['c', 'short'])], {}), /differ in shape/);
      assert.deepEqual((await device.run(good, {})).outputs, outputs);
    }
  } finally {
    await Promise.all(devices.map((device) => device.close()));
  }
});

test('a bucket that memory is too small for over the C API is dropped, and a smaller one serves', async () => {
  const onceShort = async () => {
    let opened = 0;
    return observed(await OrtApi.load(), (name) => {
      if (name === 'CreateSessionFromArray' && opened++ === 0) throw new Error('CUDA failure 2: out of memory');
    });
  };
  const single = [evaluation(0, ['a']), evaluation(0, ['b'])];
  const { plain, buckets, rows } = await runWith(await onceShort(), single);
  assert.deepEqual({ plain, buckets }, { plain: undefined, buckets: [1] });
  assert.equal(rows.length, 4 * 8 * 8);
  // The parent divides an evaluation into its rows.
  await assert.rejects(runWith(await onceShort()), /out of memory/);
});

test('where memory is full and no smaller size would do, idle buckets of all graphs make room', async () => {
  const api = await OrtApi.load();
  const memory = { sessions: 0, most: 3 };
  const short = Object.create(
    observed(api, (name) => {
      if (name !== 'CreateSessionFromArray') return;
      if (memory.sessions >= memory.most) throw new Error('CUDA failure 2: out of memory');
      memory.sessions++;
    }),
    {
      free: {
        value: (...args: Parameters<OrtApi['free']>) => {
          if (args[0] === 'Session') memory.sessions--;
          api.free(...args);
        },
      },
    },
  ) as OrtApi;
  const channel = SharedChannel.create();
  const pool = new BucketPool();
  const settings = { ...SETTINGS, channel: channel.path };
  const graphs = [
    await GraphSessions.open(UNET, settings, pool, short),
    await GraphSessions.open(UNET, settings, pool, short),
  ];
  try {
    const registered = new Map(Object.entries(TEXTS));
    const run = async (graph: GraphSessions, side: number) => {
      const { wire } = writeBatch([evaluation(0, ['a', 'b'], side)], channel);
      const { hasClosedBuckets, buckets } = await graph.run(wire, registered, channel);
      return { hasClosedBuckets, buckets, sessions: memory.sessions };
    };
    const kept = { hasClosedBuckets: false, buckets: undefined };
    for (const [k, side] of [8, 16, 24].entries())
      assert.deepEqual(await run(graphs[0], side), { ...kept, sessions: k + 1 });
    // The two of three that were not used for the longest time are closed for one of the other graph.
    assert.deepEqual(await run(graphs[1], 8), { hasClosedBuckets: true, buckets: undefined, sessions: 2 });
    assert.deepEqual(await run(graphs[0], 24), { ...kept, sessions: 2 });
    memory.most = 1;
    assert.deepEqual(await run(graphs[0], 32), { hasClosedBuckets: true, buckets: undefined, sessions: 1 });
    // With no other bucket to close, the size is too large.
    memory.most = 0;
    await assert.rejects(run(graphs[0], 40), /out of memory/);
  } finally {
    for (const graph of graphs) await graph.close();
    channel.remove();
    channel.close();
  }
  assert.equal(memory.sessions, 0);
});

test('an output that differs from that of a plain session is a failure, rounding is not', () => {
  const plain = random.randn(4096);
  const check = (output: Float32Array) => () => checkOutput(output, plain);
  assert.throws(check(plain.map((value, k) => (k % 8 === 0 ? 0 : value))), /differs/);
  assert.throws(check(plain.map((value, k) => (k === 5 ? NaN : value))), /differs/);
  assert.doesNotThrow(check(plain.map((value) => value * 1.01)));
  const overflown = plain.map((value, k) => (k === 5 ? NaN : k === 6 ? Infinity : value));
  assert.doesNotThrow(() => checkOutput(overflown, overflown));
  assert.throws(check(overflown), /differs/);
  assert.throws(() => checkOutput(plain, overflown), /differs/);
});

test('of images in 8 bits, another one is a failure, and other rounding is not, however dark or even they are', () => {
  const dark = new Uint8Array(4096).fill(0);
  const even = new Uint8Array(4096).fill(128);
  const image = Uint8Array.from(random.randn(4096), (value) => 128 + 60 * Math.max(-2, Math.min(2, value)));
  for (const plain of [dark, even, image]) {
    assert.doesNotThrow(() =>
      checkOutput(
        plain.map((value, k) => value + (k % 3 === 0 ? 1 : 0)),
        plain,
      ),
    );
    for (const other of [dark, even, image]) {
      if (other !== plain) assert.throws(() => checkOutput(other, plain), /differs/);
    }
    assert.throws(
      () =>
        checkOutput(
          plain.map((value, k) => (k % 64 === 0 ? 255 - value / 2 : value)),
          plain,
        ),
      /differs/,
    );
  }
});

test('over the C API, an output that is neither float32 nor uint8 is an error that names it', async () => {
  const path = join(scratch, 'whole.onnx');
  writeSmall(path, {
    nodes: [['Cast', 'x', 'y', { to: TensorProto_DataType.INT64 }]],
    inputs: { x: ['rows', 2] },
    outputs: 'y',
  });
  changeModel(path, path, ({ graph }) => retype(graph.output[0], TensorProto_DataType.INT64));
  for (const cApi of [true, false]) {
    const device = await openDevice(cApi, { path, replayed: true });
    try {
      const inputs = { x: float32(Float32Array.of(1, 2), [2]) };
      await assert.rejects(
        device.run([{ graph: 'unet', output: 'y', inputs }], {}),
        /y is int64, not float32 or uint8/,
      );
    } finally {
      await device.close();
    }
  }
});

test('a process that is killed in the middle of a batch is replaced, and the batch is ===', async () => {
  const warnings: string[] = [];
  const device = await openDevice(true, UNET, warnings);
  try {
    const batch = [evaluation(1, ['a', 'b'])];
    const { outputs } = await device.run(batch, {});
    // So that it does not end before it is killed.
    process.kill(device.pid!, 'SIGSTOP');
    const again = device.run(batch, {});
    await nextTurn();
    process.kill(device.pid!, 'SIGKILL');
    assert.deepEqual((await again).outputs, outputs);
    assert.match(warnings.join(), /another takes its place/);
  } finally {
    await device.close();
  }
});

test('with more sizes than sessions stay open, the device knows that the first is not open any more', async () => {
  const device = await openDevice(false, UNET);
  try {
    const sides = Array.from({ length: 16 }, (_, k) => 4 + 2 * k);
    for (const texts of [['a'], ['a', 'b'], ['a', 'b', 'c']])
      for (const side of sides) await device.run([evaluation(0, texts, side)], {});
    const first = [evaluation(0, ['a'], sides[0])];
    assert.equal(device.hasBucketFor(first), true);
    await device.openBucket([evaluation(0, ['a'], 36)], {});
    assert.equal(device.hasBucketFor(first), false);
    await device.openBucket(first, {});
    const [hasFirst, hasLong] = [['a'], ['long']].map((text) => device.hasBucketFor([evaluation(0, text, sides[0])]));
    assert.deepEqual([hasFirst, hasLong], [true, false]);
  } finally {
    await device.close();
  }
});

test('a process whose GPU faults is replaced by one without CUDA graphs', async () => {
  const path = join(scratch, 'model.onnx');
  // ONNX Runtime quotes the name of the node that fails.
  changeModel(UNET.path, path, ({ graph }) => {
    for (const node of graph.node) node.name = `an illegal memory access was encountered ${node.output.join()}`;
  });
  const warnings: string[] = [];
  const device = await openDevice(true, { ...UNET, path }, warnings);
  try {
    const odd = evaluation(1, ['a', 'b'], 7);
    await assert.rejects(device.run([odd], {}), /stays alive, found 3 .* lost its device: .*an illegal memory access/);
    assert.match(warnings[0], /runs without CUDA graphs, .*an illegal memory access/);
    assert.match(warnings[1], /another takes its place$/);
    assert.equal(warnings.filter((text) => text.includes('without CUDA graphs')).length, 1);
  } finally {
    await device.close();
  }
});

test('a process whose GPU faults goes on without fused kernels first, and after another fault without CUDA graphs', async () => {
  const path = join(scratch, 'fused.onnx');
  changeModel(UNET.path, path, ({ graph }) => {
    for (const node of graph.node) node.name = `an illegal memory access was encountered ${node.output.join()}`;
  });
  const warnings: string[] = [];
  const device = await openDevice(true, { ...UNET, path }, warnings, true);
  try {
    const odd = evaluation(1, ['a', 'b'], 7);
    for (let fault = 0; fault < 2; fault++) await assert.rejects(device.run([odd], {}), /lost its device/);
    const lost = warnings.flatMap((text) => /runs without ([a-zA-Z ]+), up to twice as long/.exec(text)?.[1] ?? []);
    assert.deepEqual(lost, ['fused kernels', 'CUDA graphs']);
  } finally {
    await device.close();
  }
});

test('a graph with results whose shapes depend on values is not captured as a CUDA graph', async () => {
  const prepared = await prepareModel({ path: fixture('models/flux-dev/transformer/model.onnx') });
  const settings = { ...SETTINGS, device: { kind: 'cuda', index: 0 }, channel: '' } as const;
  const sessions = await CApiSessions.for(await OrtApi.load(), prepared, settings);
  const open = () => sessions.open({ rows: 1, shapes: new Map(), indexed: [] });
  await assert.rejects(open, (error) => error instanceof CApiFailure && /NonZero/.test(error.message));
});

test('a bucket is compared once, until the file or its weights change', async () => {
  const folder = join(scratch, 'compared');
  cpSync(fixture('models/sd15/unet'), folder, { recursive: true });
  const path = join(folder, 'model.onnx');
  const api = await OrtApi.load();
  const open = async () => CApiSessions.for(api, await prepareModel({ path }), { ...SETTINGS, channel: '' });
  const shapeOf = (rows: number) => ({ rows, shapes: new Map([['sample', [rows, 4, 8, 8]]]), indexed: [] });
  const shape = shapeOf(2);
  const [output, other] = [Float32Array.of(1, 2), Float32Array.of(1, 3)];
  const first = await open();
  assert.equal(await first.isCompared(shape), false);
  await assert.rejects(first.compare(shape, [[output, other]]), CApiFailure);
  const differsAtLast = [
    [output, output],
    [output, other],
  ] as const;
  await assert.rejects(first.compare(shape, differsAtLast), CApiFailure);
  assert.equal(await first.isCompared(shape), false);
  // Without memory for the comparison this process makes none, and the next one tries again.
  await first.compare(shape, [[output, undefined]]);
  assert.equal(await first.isCompared(shape), true);
  assert.equal(await (await open()).isCompared(shape), false);
  await (await open()).compare(shape, [[output, output]]);
  assert.equal(await (await open()).isCompared(shape), true);
  assert.equal(await (await open()).isCompared(shapeOf(4)), false);
  utimesSync(path, 1, 1);
  assert.equal(await (await open()).isCompared(shape), false);
});
