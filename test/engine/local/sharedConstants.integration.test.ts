import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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
import { SharingSessions } from '../../../src/engine/cuda/sharingSessions.js';
import { CApiSessions } from '../../../src/engine/local/cApiSessions.js';
import { castNode, integer, node } from '../../../src/onnx/nodes.js';
import { prepareModel, type BucketShape, type PreparedModel } from '../../../src/onnx/prepare.js';

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
  const sessions = shapes.map((shape) => sharing.open(shape));
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

/** An API that counts its objects. */
async function counted() {
  const api = await OrtApi.load();
  const made: Record<string, number> = {};
  const add = (kind: string, by: number) => (made[kind] = (made[kind] ?? 0) + by);
  const counting = Object.create(api, {
    create: {
      value: (...args: Parameters<OrtApi['create']>) => {
        add(args[0], 1);
        return api.create(...args);
      },
    },
    free: {
      value: (...args: Parameters<OrtApi['free']>) => {
        add(`freed ${args[0]}`, 1);
        api.free(...args);
      },
    },
  }) as OrtApi;
  return { api: counting, made };
}

test('constants are computed by the first bucket and freed with the last one', async () => {
  const prepared = await productsOf('life', [product('plain'), product('joined')], ['x plain', 'x joined']);
  const { api, made } = await counted();
  const sharing = new SharingSessions(api, prepared.share()!, settingsOf(prepared));
  const first = sharing.open(SINGLE);
  const second = sharing.open(SINGLE);
  assert.deepEqual([made.CreateSessionFromArray, made.CreateTensorWithDataAsOrtValue], [3, 2]);
  await first.close();
  assert.equal(made['freed Value'], undefined);
  await second.close();
  assert.equal(made['freed Value'], 2);
  await sharing.open(SINGLE).close();
  assert.deepEqual([made['freed Session'], made['freed Value']], [5, 4]);
});

test('a session that cannot take shared constants has its own', async () => {
  const api = await OrtApi.load();
  // On a CPU, ONNX Runtime casts weights in half precision when a session opens.
  const prepared = await prepareModel({ ...UNET, precision: 'float16' });
  const settings = settingsOf(prepared);
  const sharing = new SharingSessions(api, prepared.share()!, settings);
  assert.throws(() => sharing.open(unetShape(1)), /out of bounds/);
  const sessions = await CApiSessions.for(api, prepared, { ...settings, channel: '' });
  const [session, own] = [sessions.open(unetShape(1)), OrtSession.open(api, prepared.source(unetShape(1)), settings)];
  try {
    const output = await runOnce(session, prepared, unetShape(1));
    assert.deepEqual(output, await runOnce(own, prepared, unetShape(1)));
  } finally {
    await session.close();
    await own.close();
  }
});

test('where memory is too small for shared constants, the bucket does not open with its own', async () => {
  const prepared = await productsOf('short', [product('plain')], ['x plain']);
  const api = await OrtApi.load();
  let opened = 0;
  const short = Object.create(api, {
    create: {
      value: (...args: Parameters<OrtApi['create']>) => {
        if (args[0] === 'CreateSessionFromArray' && opened++ === 0) throw new Error('CUDA failure 2: out of memory');
        return api.create(...args);
      },
    },
  }) as OrtApi;
  const sessions = await CApiSessions.for(short, prepared, { ...settingsOf(prepared), channel: '' });
  assert.throws(() => sessions.open(SINGLE), /out of memory/);
  assert.equal(opened, 1);
  await sessions.open(SINGLE).close();
  // The constants and the bucket.
  assert.equal(opened, 3);
});
