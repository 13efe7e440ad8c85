import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  TensorProtoSchema,
  ValueInfoProtoSchema,
  type NodeProto,
} from 'onnx-buf';
import { BUNDLED_MODEL } from 'srds/model';
import { Generator } from 'srds/random';
import { sizeOf } from 'srds/tensor';
import type { BucketSession } from '../../../src/engine/bucketSession.js';
import { OrtApi } from '../../../src/engine/cuda/ortApi.js';
import { OrtSession } from '../../../src/engine/cuda/ortSession.js';
import { FilesChanged, SharingSessions } from '../../../src/engine/cuda/sharingSessions.js';
import { CApiFailure, CApiSessions } from '../../../src/engine/local/cApiSessions.js';
import { messageOf } from '../../../src/errors.js';
import { castNode, integer, node } from '../../../src/onnx/nodes.js';
import { prepareModel, type BucketShape, type PreparedModel } from '../../../src/onnx/prepare.js';
import { observed } from '../../support/observedApi.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));
process.env.XDG_CACHE_HOME = join(scratch, 'cache');

const PROCESS = { device: { kind: 'cpu', index: 0 }, threads: 1, buckets: [1, 2], fused: false, cApi: true } as const;
const settingsOf = ({ weights }: PreparedModel) => ({ ...PROCESS, weights });
const FLOAT = 1;
const FLOAT16 = 10;
const WIDTH = 160;

const value = (name: string, dims: readonly number[]) =>
  create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: 'tensorType',
        value: {
          elemType: FLOAT,
          shape: { dim: dims.map((dim) => ({ value: { case: 'dimValue' as const, value: BigInt(dim) } })) },
        },
      },
    },
  });

const random = new Generator(7);
const weight = (name: string, dims: readonly number[]) =>
  create(TensorProtoSchema, {
    name,
    dataType: FLOAT,
    dims: dims.map(BigInt),
    rawData: new Uint8Array(random.randn(sizeOf(dims)).map((number) => number / 16).buffer),
  });

/** Writes a graph that sums products of x, [1, WIDTH], and returns it prepared. */
async function productsOf(name: string, nodes: readonly NodeProto[], products: readonly string[]) {
  const path = join(scratch, `${name}.onnx`);
  const square = [WIDTH, WIDTH];
  const perm = create(AttributeProtoSchema, {
    name: 'perm',
    type: AttributeProto_AttributeType.INTS,
    ints: [1n, 0n],
  });
  const graph = create(GraphProtoSchema, {
    name,
    node: [
      node('Transpose', ['turned'], 'turned back', { attribute: [perm] }),
      node('Concat', ['left', 'right'], 'joined', { attribute: [integer('axis', -1)] }),
      castNode('plain', 'in half', FLOAT16),
      castNode('in half', 'rounded', FLOAT),
      node('Neg', ['negated'], 'negative'),
      ...nodes,
      node('Sum', [...products], 'y'),
    ],
    input: [value('x', [1, WIDTH])],
    output: [value('y', [1, WIDTH])],
    initializer: [
      ...['plain', 'turned', 'negated'].map((one) => weight(one, square)),
      ...['left', 'right'].map((one) => weight(one, [WIDTH, WIDTH / 2])),
      weight('small', [WIDTH]),
      weight('kernel', [WIDTH, 1, 1, WIDTH]),
    ],
  });
  const model = create(ModelProtoSchema, { irVersion: 8n, opsetImport: [{ domain: '', version: 17n }], graph });
  writeFileSync(path, toBinary(ModelProtoSchema, model));
  return prepareModel({ path });
}

const product = (of: string) => node('MatMul', ['x', of], `x ${of}`);
const sharedNames = (prepared: PreparedModel) =>
  (prepared.share()?.parts ?? []).flatMap(({ outputs }) => outputs.map(({ name }) => name)).toSorted();

function runOnce(
  session: BucketSession,
  { values }: PreparedModel,
  { shapes }: BucketShape,
): Promise<readonly number[]> {
  const numbers = new Generator(11);
  for (const { name, type } of values.inputs) {
    const data = session.allocate(name, type, shapes.get(name) ?? []) as Float32Array;
    data.set(name === 'timestep' ? data.map((_, k) => 900 - k) : numbers.randn(data.length));
  }
  const names = new Set(values.inputs.map(({ name }) => name));
  return session.run(values.outputs[0].name, names).then((output) => Array.from(output));
}

/** Asserts that sessions with shared constants give what others give. */
async function assertEquals(api: OrtApi, prepared: PreparedModel, shapes: readonly BucketShape[]): Promise<void> {
  const shared = prepared.share();
  assert.ok(shared);
  const settings = settingsOf(prepared);
  const sharing = new SharingSessions(api, shared, settings);
  const sessions = await Promise.all(shapes.map((shape) => sharing.open(shape)));
  for (const [k, shape] of shapes.entries()) {
    const own = OrtSession.open(api, prepared.source(shape), settings);
    assert.deepEqual(await runOnce(sessions[k], prepared, shape), await runOnce(own, prepared, shape));
    await own.close();
  }
  for (const session of sessions) await session.close();
}

const SINGLE: BucketShape = { rows: 1, shapes: new Map([['x', [1, WIDTH]]]), indexed: [] };

test('weights, and casts, transposes and joins of weights are shared; convolutions, small ones and sources of others are not', async () => {
  const api = await OrtApi.load();
  const shape = create(TensorProtoSchema, { dataType: 7, dims: [4n], int64Data: [1n, 1n, 1n, BigInt(WIDTH)] });
  const back = create(TensorProtoSchema, { dataType: 7, dims: [2n], int64Data: [1n, BigInt(WIDTH)] });
  const constant = (name: string, t: typeof shape) =>
    node('Constant', [], name, {
      attribute: [{ name: 'value', type: AttributeProto_AttributeType.TENSOR, t }],
    });
  const ways = ['plain', 'turned', 'turned back', 'joined', 'rounded', 'negated', 'negative'];
  const prepared = await productsOf(
    'ways',
    [
      ...ways.map(product),
      node('Mul', ['x', 'small'], 'x small'),
      constant('wide', shape),
      constant('narrow', back),
      node('Reshape', ['x', 'wide'], 'x wide'),
      node('Conv', ['x wide', 'kernel'], 'x kernel wide'),
      node('Reshape', ['x kernel wide', 'narrow'], 'x kernel'),
    ],
    [...ways, 'small', 'kernel'].map((way) => `x ${way}`),
  );
  assert.deepEqual(sharedNames(prepared), ['joined', 'plain', 'rounded', 'turned', 'turned back']);
  await assertEquals(api, prepared, [SINGLE, SINGLE]);
});

test('a graph whose large constants feed convolutions only shares nothing', async () => {
  const prepared = await productsOf('nothing', [node('Mul', ['x', 'small'], 'x small')], ['x small']);
  assert.equal(prepared.share(), undefined);
});

/** Buckets of the bundled UNet. */
function unetShape(rows: number): BucketShape {
  const shapes = { sample: [rows, 4, 16, 16], timestep: [rows], encoder_hidden_states: [rows, 16, 128] };
  return { rows, shapes: new Map(Object.entries(shapes)), indexed: [] };
}

const UNET = { path: join(BUNDLED_MODEL, 'unet/model.onnx'), perRow: 'timestep' };

test('buckets of the bundled UNet that share constants give === what others give', async () => {
  await assertEquals(await OrtApi.load(), await prepareModel(UNET), [unetShape(1), unetShape(2)]);
});

/** Counts objects. */
class Counts {
  readonly made: Record<string, number> = {};

  readonly add = (name: string, kind: string) => {
    const key = kind === 'free' ? `freed ${name}` : name;
    this.made[key] = (this.made[key] ?? 0) + 1;
  };
}

test('constants are computed by the first bucket and freed with the last one', async () => {
  const prepared = await productsOf('life', [product('plain'), product('joined')], ['x plain', 'x joined']);
  const { made, add } = new Counts();
  const sharing = new SharingSessions(observed(await OrtApi.load(), add), prepared.share()!, settingsOf(prepared));
  const first = await sharing.open(SINGLE);
  const second = await sharing.open(SINGLE);
  assert.deepEqual([made.CreateSessionFromArray, made.CreateTensorWithDataAsOrtValue], [3, 2]);
  await first.close();
  assert.equal(made['freed Value'], undefined);
  await second.close();
  assert.equal(made['freed Value'], 2);
  await (await sharing.open(SINGLE)).close();
  assert.deepEqual([made['freed Session'], made['freed Value']], [5, 4]);
});

/** The functions that make each kind of object. */
const MAKERS = {
  MemoryInfo: ['CreateMemoryInfo'],
  Session: ['CreateSessionFromArray'],
  Value: ['CreateTensorWithDataAsOrtValue', 'GetBoundOutputValues'],
  RunOptions: ['CreateRunOptions'],
  TensorTypeAndShapeInfo: ['GetTensorTypeAndShape'],
  SessionOptions: ['CreateSessionOptions'],
  IoBinding: ['CreateIoBinding'],
};

test('whichever call fails, each object is freed once, and the error says what failed', async () => {
  const api = await OrtApi.load();
  const prepared = await productsOf('failing', [product('plain'), product('joined')], ['x plain', 'x joined']);
  // Returns the number of calls.
  const runWithFailure = async (failing: number): Promise<number> => {
    const { made, add } = new Counts();
    let calls = 0;
    const watched = observed(api, (name, kind) => {
      if (kind !== 'free' && calls++ === failing) throw new Error('first');
      add(name, kind);
    });
    const sharing = new SharingSessions(watched, prepared.share()!, settingsOf(prepared));
    const life = async () => {
      const session = await sharing.open(SINGLE);
      try {
        await runOnce(session, prepared, SINGLE);
      } finally {
        await session.close();
      }
    };
    await (failing < 0 ? life() : assert.rejects(life, { message: 'first' }));
    for (const [kind, makers] of Object.entries(MAKERS)) {
      const count = makers.reduce((sum, name) => sum + (made[name] ?? 0), 0);
      assert.equal(made[`freed ${kind}`] ?? 0, count, `${kind}, call ${failing}`);
    }
    return calls;
  };
  const calls = await runWithFailure(-1);
  for (let k = 0; k < calls; k++) await runWithFailure(k);
});

test('if freeing fails, the rest is freed, and a later session does not get what was freed', async () => {
  const prepared = await productsOf('unfreed', [product('plain'), product('joined')], ['x plain', 'x joined']);
  const { made, add } = new Counts();
  const failing = new Set<string>();
  const api = observed(await OrtApi.load(), (name, kind) => {
    if (failing.has(`${kind} ${name}`)) throw new Error(`${kind} ${name}`);
    add(name, kind);
  });
  const freed = { Session: 0, Value: 0 };
  const watched = Object.create(api, {
    free: {
      value: (...args: Parameters<OrtApi['free']>) => {
        if (args[0] === 'Session' || args[0] === 'Value') freed[args[0]]++;
        api.free(...args);
      },
    },
  }) as OrtApi;
  const sharing = new SharingSessions(watched, prepared.share()!, settingsOf(prepared));
  const session = await sharing.open(SINGLE);
  failing.add('free Value');
  await assert.rejects(session.close(), { message: 'free Value' });
  // The sessions of the constants and of the bucket, and both constants.
  assert.deepEqual(freed, { Session: 2, Value: 2 });
  failing.add('call RunWithBinding');
  await assert.rejects(sharing.open(SINGLE), { message: 'call RunWithBinding' });
  assert.deepEqual([freed.Value, made.CreateTensorWithDataAsOrtValue], [4, 4]);
  failing.delete('call RunWithBinding');
  failing.add('call AddInitializer');
  await assert.rejects(sharing.open(SINGLE), { message: 'call AddInitializer' });
  assert.deepEqual([freed.Value, made.CreateTensorWithDataAsOrtValue], [6, 6]);
  failing.clear();
  await (await sharing.open(SINGLE)).close();
  assert.equal(made.CreateTensorWithDataAsOrtValue, 8);
});

test('a session that cannot take shared constants has its own', async () => {
  const api = await OrtApi.load();
  // On a CPU, ONNX Runtime casts weights in half precision when a session opens.
  const prepared = await prepareModel({ ...UNET, precision: 'float16' });
  const settings = settingsOf(prepared);
  const sharing = new SharingSessions(api, prepared.share()!, settings);
  await assert.rejects(sharing.open(unetShape(1)), /out of bounds/);
  const sessions = await CApiSessions.for(api, prepared, { ...settings, channel: '' });
  const [session, own] = [
    await sessions.open(unetShape(1)),
    OrtSession.open(api, prepared.source(unetShape(1)), settings),
  ];
  try {
    const output = await runOnce(session, prepared, unetShape(1));
    assert.deepEqual(output, await runOnce(own, prepared, unetShape(1)));
  } finally {
    await session.close();
    await own.close();
  }
});

/** Sessions of a graph over an API whose calls are observed. */
async function sessionsOver(prepared: PreparedModel, tell: Parameters<typeof observed>[1]): Promise<CApiSessions> {
  return CApiSessions.for(observed(await OrtApi.load(), tell), prepared, { ...settingsOf(prepared), channel: '' });
}

test('where memory is too small to compute shared constants, buckets open with their own from then on', async () => {
  const prepared = await productsOf('short', [product('plain')], ['x plain']);
  let opened = 0;
  let most = 1;
  const sessions = await sessionsOver(prepared, (name) => {
    if (name === 'CreateSessionFromArray' && opened++ < most) throw new Error('CUDA failure 2: out of memory');
    assert.notEqual(name, 'AddInitializer');
  });
  await (await sessions.open(SINGLE)).close();
  assert.equal(opened, 2);
  await (await sessions.open(SINGLE)).close();
  assert.equal(opened, 3);
  most = Infinity;
  await assert.rejects(sessions.open(SINGLE), /out of memory/);
});

test('where memory is too small for a bucket that shares constants, it does not open', async () => {
  const prepared = await productsOf('shorter', [product('plain')], ['x plain']);
  let opened = 0;
  const sessions = await sessionsOver(prepared, (name) => {
    if (name === 'CreateSessionFromArray' && ++opened === 2) throw new Error('CUDA failure 2: out of memory');
  });
  await assert.rejects(sessions.open(SINGLE), (error) => !(error instanceof CApiFailure));
  assert.equal(opened, 2);
});

test('where sharing constants fails, buckets open with their own from then on', async () => {
  const prepared = await productsOf('other', [product('plain')], ['x plain']);
  let opened = 0;
  const sessions = await sessionsOver(prepared, (name) => {
    if (name === 'CreateSessionFromArray') opened++;
    if (name === 'AddInitializer') throw new Error('index out of bounds');
  });
  await (await sessions.open(SINGLE)).close();
  assert.equal(opened, 2);
  await (await sessions.open(SINGLE)).close();
  assert.equal(opened, 3);
});

test('a bucket does not open with constants of a file that has changed', async () => {
  const prepared = await productsOf('changed', [product('plain')], ['x plain']);
  let opened = 0;
  const sessions = await sessionsOver(prepared, (name) => {
    if (name === 'CreateSessionFromArray') opened++;
  });
  const session = await sessions.open(SINGLE);
  assert.equal(opened, 2);
  utimesSync(prepared.files[0], 1, 1);
  await assert.rejects(
    sessions.open(SINGLE),
    (error) => error instanceof FilesChanged && /changed/.test(error.message),
  );
  assert.equal(opened, 2);
  await session.close();
});

test('a device without an arena runs all the same; a run that fails is not tried again', async () => {
  const prepared = await productsOf('arena', [product('plain')], ['x plain']);
  const noArena =
    'Did not find an arena based allocator registered for device-id  combination in the memory arena shrink list: cpu:0';
  const runs = async (message: string): Promise<number> => {
    let count = 0;
    const api = observed(await OrtApi.load(), (name) => {
      if (name === 'RunWithBinding' && count++ === 0) throw new Error(message);
    });
    const session = OrtSession.open(api, prepared.source(SINGLE), settingsOf(prepared));
    await runOnce(session, prepared, SINGLE).catch((error: unknown) => assert.equal(messageOf(error), 'other'));
    await session.close();
    return count;
  };
  // To learn the shape, twice, and to compute.
  assert.equal(await runs(noArena), 3);
  assert.equal(await runs('other'), 1);
});
