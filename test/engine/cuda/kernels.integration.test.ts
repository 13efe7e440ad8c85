// Operators of this package in ONNX Runtime, on the CPU: what sessions do with kernels that are missing, that fail, or that are wrong.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Generator } from 'srds/random';
import { sizeOf } from 'srds/tensor';
import { CustomOperators, type CustomOperator } from '../../../src/engine/cuda/kernels/customOperators.js';
import { OrtApi } from '../../../src/engine/cuda/ortApi.js';
import { OrtSession } from '../../../src/engine/cuda/ortSession.js';
import { CApiFailure, CApiSessions } from '../../../src/engine/local/cApiSessions.js';
import { kernelAddition } from '../../../src/engine/local/providers.js';
import { KERNEL_DOMAIN } from '../../../src/onnx/fuse/kernels/domain.js';
import { fixture } from '../../support/fixtures.js';
import { referenceOperators } from '../../support/kernelReference.js';
import { cpuKernels, prepareHalf } from '../../support/kernelSession.js';
import { writeSmall } from '../../support/onnx.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));
process.env.XDG_CACHE_HOME = join(scratch, 'cache');
const api = await OrtApi.load();
const CPU = { device: { kind: 'cpu', index: 0 }, threads: 1, weights: undefined } as const;

/** The operators with a fault in all computations. */
function faulty(fault: (operator: CustomOperator) => Partial<CustomOperator>): CustomOperators {
  const operators = referenceOperators(api.koffi).map((operator) => ({ ...operator, ...fault(operator) }));
  return new CustomOperators(api, KERNEL_DOMAIN, undefined, operators);
}

const failing = () =>
  faulty(() => ({
    prepare: () => () => {
      throw new Error('the GPU is on fire');
    },
  }));

test('a session adds in an operator of this package', async () => {
  const session = OrtSession.open(api, kernelAddition(), { ...CPU, operators: await cpuKernels(api) });
  const x = session.allocate('x', 'float32', [2]) as Float32Array;
  x.set([1.5, -2]);
  assert.deepEqual([...(await session.run('y', new Set(['x'])))], [3, -4]);
  await session.close();
});

test('a session without the operators is not opened', () => {
  assert.throws(() => OrtSession.open(api, kernelAddition(), CPU), /srds:Sum/);
});

test('an error of a computation or of its preparation is an error of the session, which goes on', async () => {
  const session = OrtSession.open(api, kernelAddition(), { ...CPU, operators: failing() });
  session.allocate('x', 'float32', [2]);
  for (let run = 0; run < 2; run++) await assert.rejects(session.run('y', new Set(['x'])), /the GPU is on fire/);
  await session.close();
  const unprepared = faulty(() => ({
    prepare: ({ integer }) => {
      integer('nothing');
      return () => undefined;
    },
  }));
  assert.throws(() => OrtSession.open(api, kernelAddition(), { ...CPU, operators: unprepared }), /nothing/);
});

const SETTINGS = { ...CPU, buckets: [2], fused: true, cApi: true, channel: '' };
const SHAPE = {
  rows: 2,
  indexed: [],
  shapes: new Map([
    ['sample', [2, 4, 8, 8]],
    ['timestep', [2]],
    ['encoder_hidden_states', [2, 7, 32]],
  ]),
};
const UNET = { path: fixture('models/sd15/unet/model.onnx'), perRow: 'timestep' };

/** Opens a session and runs it once. */
async function outputOf(sessions: CApiSessions, { shapes } = SHAPE, output = 'out_sample'): Promise<number[]> {
  const random = new Generator(3);
  const session = await sessions.open({ ...SHAPE, shapes });
  try {
    for (const [name, dims] of shapes) {
      const data = session.allocate(name, 'float32', dims) as Float32Array;
      data.set(name === 'timestep' ? [500, 300] : random.randn(sizeOf(dims)));
    }
    return Array.from(await session.run(output, new Set(shapes.keys())));
  } finally {
    await session.close();
  }
}

test('where kernels are missing, fail or are wrong, those of ONNX Runtime take their place, and it is said why', async () => {
  const prepared = await prepareHalf(UNET);
  const open = (operators: () => CustomOperators) => CApiSessions.for(api, prepared, SETTINGS, { operators });
  const expected = await outputOf(await CApiSessions.for(api, prepared, SETTINGS));

  const right = await cpuKernels(api);
  const own = await open(() => right);
  assert.equal(own.slower, undefined);
  const output = await outputOf(own);
  assert.notDeepEqual(output, expected, 'they round differently');
  output.forEach((value, k) => assert.ok(Math.abs(value - expected[k]) < 0.02));

  const missing = await open(() => {
    throw new Error('no compiler');
  });
  assert.deepEqual(missing.slower, { without: 'fused kernels', why: 'no compiler' });
  assert.deepEqual(await outputOf(missing), expected);

  const broken = failing();
  const fails = await open(() => broken);
  await assert.rejects(outputOf(fails), (error) => error instanceof CApiFailure && /on fire/.test(error.message));
  const restore = await fails.dropKernels(new CApiFailure('on fire'));
  assert.ok(restore);
  assert.deepEqual(fails.slower, { without: 'fused kernels', why: 'on fire' });
  assert.deepEqual(await outputOf(fails), expected);
  assert.equal(await fails.dropKernels(new CApiFailure('again')), undefined, 'there are none to drop');
  restore();
  assert.equal(fails.slower, undefined);
  await assert.rejects(outputOf(fails), /on fire/);
});

test('what agreed without kernels is compared again with them', async () => {
  const prepared = await prepareHalf(UNET);
  const operators = await cpuKernels(api);
  const plain = await CApiSessions.for(api, prepared, SETTINGS);
  await plain.compare(SHAPE, [[Float32Array.of(1), Float32Array.of(1)]]);
  assert.equal(await (await CApiSessions.for(api, prepared, SETTINGS)).isCompared(SHAPE), true);
  const own = await CApiSessions.for(api, prepared, SETTINGS, { operators: () => operators });
  assert.equal(await own.isCompared(SHAPE), false);
  await own.dropKernels(new CApiFailure('wrong'));
  assert.equal(await own.isCompared(SHAPE), true);
});

test('a term that would have to be spread is an error, not another sum', async () => {
  const path = join(scratch, 'pooled.onnx');
  const values = (...dims: number[]) => ({ dims, values: new Generator(1).randn(sizeOf(dims)) });
  writeSmall(path, {
    nodes: [
      ['Conv', 'x W c', 'a'],
      ['GlobalAveragePool', 'x', 'q'],
      ['Conv', 'q W', 'p'],
      ['Add', 'a p', 'y'],
    ],
    inputs: { x: ['rows', 8, 4, 4] },
    outputs: 'y',
    weights: { W: values(8, 8, 1, 1), c: values(8) },
  });
  const prepared = await prepareHalf({ path });
  const operators = await cpuKernels(api);
  const sessions = await CApiSessions.for(api, prepared, SETTINGS, { operators: () => operators });
  const shape = { ...SHAPE, shapes: new Map([['x', [2, 8, 4, 4]]]) };
  await assert.rejects(outputOf(sessions, shape, 'y'), /a term has shape \[2,1,1,8\]/);
  await sessions.dropKernels(new CApiFailure(''));
  assert.equal((await outputOf(sessions, shape, 'y')).length, 2 * 8 * 16);
});
