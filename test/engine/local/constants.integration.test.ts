import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { AttributeProto_AttributeType, NodeProtoSchema, TensorProto_DataType } from 'onnx-buf';
import { DeviceEngine, type BatchResult, type ConditioningId, type GraphFile } from 'srds/engine';
import { Generator } from 'srds/random';
import { float32, int64, type Tensor } from 'srds/tensor';
import { LocalDevice } from '../../../src/engine/local/localDevice.js';
import type { GraphInfo } from '../../../src/onnx/graphInfo.js';
import { fixture, relativeError } from '../../support/fixtures.js';
import { changeModel } from '../../support/onnx.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

const FILE: GraphFile = {
  path: fixture('models/flux-dev/transformer/model.onnx'),
  perRow: 'timestep',
  constants: ['img_ids', 'txt_ids'],
  replayed: true,
};
const random = new Generator(3);
const [ROWS, COLUMNS, LENGTH] = [2, 3, 5];

/** Positions of 2x3 or 3x2 tokens. */
function ids(columns: number): Tensor {
  const all = Array.from({ length: ROWS * COLUMNS }, (_, k) => [0, Math.floor(k / columns), k % columns]);
  return int64(all.flat(), [ROWS * COLUMNS, 3]);
}

function prompt(columns = COLUMNS): Readonly<Record<string, Tensor>> {
  return {
    encoder_hidden_states: float32(random.randn(40 * LENGTH), [LENGTH, 40]),
    pooled_projections: float32(random.randn(24), [24]),
    img_ids: ids(columns),
    txt_ids: int64(Array<number>(3 * LENGTH).fill(0), [LENGTH, 3]),
    guidance: float32(random.randn(16).slice(0, 1), []),
  };
}

const PROMPTS: Readonly<Record<string, Readonly<Record<string, Tensor>>>> = {
  a: prompt(),
  b: prompt(),
  turned: prompt(2),
};
const SAMPLES = Array.from({ length: 3 }, () => float32(random.randn(ROWS * COLUMNS * 64), [ROWS * COLUMNS, 64]));

const evaluation = (k: number, conditioning: readonly ConditioningId[]) => ({
  graph: 'transformer',
  output: 'out_hidden_states',
  inputs: { hidden_states: SAMPLES[k], timestep: float32(Float32Array.of(0.9 - 0.3 * k), []) },
  conditioning,
});
const BATCHES = [
  [evaluation(0, ['a'])],
  [evaluation(1, ['a', 'b'])],
  [evaluation(0, ['a', 'b']), evaluation(1, ['b', 'a']), evaluation(2, ['b', 'b'])],
];

/** The outputs of all batches. */
async function outputsOf(file: GraphFile, settings: { buckets: number[]; fused: boolean; cApi: boolean }) {
  const registered = new Map(Object.entries(PROMPTS));
  const state = { files: { transformer: file }, loaded: new Map<string, GraphInfo>(), registered };
  const warnings: string[] = [];
  const cpu = { kind: 'cpu', index: 0 } as const;
  const device = new LocalDevice({ device: cpu, threads: 1, ...settings }, state, undefined, {
    onWarning: (warning) => warnings.push(warning),
    onRestart: () => undefined,
  });
  try {
    const { transformer } = await device.loadGraphs(['transformer']);
    state.loaded.set('transformer', transformer);
    for (const [id, inputs] of registered) device.register(id, inputs);
    const results: BatchResult[] = [];
    for (const batch of BATCHES) results.push(await device.run(batch, {}));
    assert.deepEqual(warnings, []);
    return Float32Array.from(results.flatMap(({ outputs }) => outputs.flat().flatMap((row) => [...row])));
  } finally {
    await device.close();
  }
}

const ANY_SIZE = { buckets: [], fused: false, cApi: false };

test('inputs without a batch axis: buckets, fused graphs and the C API give what one session gives', async () => {
  const plain = await outputsOf(FILE, ANY_SIZE);
  for (const settings of [
    { buckets: [1, 2, 4], fused: false, cApi: false },
    { buckets: [1, 2, 4], fused: true, cApi: false },
    { buckets: [2, 8], fused: true, cApi: true },
  ]) {
    const error = relativeError(await outputsOf(FILE, settings), plain);
    assert.ok(error < 1e-5, `${JSON.stringify(settings)}: ${error}`);
  }
});

test('a graph that takes positions in float32 gives the same', async () => {
  const path = join(scratch, 'model.onnx');
  changeModel(FILE.path, path, ({ graph }) => {
    for (const { name, type } of graph.input) {
      if (!name.endsWith('_ids') || type?.value.case !== 'tensorType') continue;
      type.value.value.elemType = TensorProto_DataType.FLOAT;
      const whole = `${name}_whole`;
      for (const node of graph.node) node.input = node.input.map((input) => (input === name ? whole : input));
      const to = { name: 'to', type: AttributeProto_AttributeType.INT, i: BigInt(TensorProto_DataType.INT64) };
      graph.node.unshift(create(NodeProtoSchema, { opType: 'Cast', input: [name], output: [whole], attribute: [to] }));
    }
  });
  assert.deepEqual(await outputsOf({ ...FILE, path }, ANY_SIZE), await outputsOf(FILE, ANY_SIZE));
});

test('a batch whose evaluations have other values of such an input is refused', async () => {
  const engine = await DeviceEngine.open({ transformer: FILE });
  try {
    const [a, turned] = [engine.register(PROMPTS.a), engine.register(PROMPTS.turned)];
    await assert.rejects(engine.run([evaluation(0, [a]), evaluation(1, [turned])]), {
      code: 'ENGINE_FAILED',
      message: /rows of img_ids differ, which has no batch axis/,
    });
    const [first] = (await engine.run([evaluation(0, [a])])).outputs;
    const [second] = (await engine.run([evaluation(0, [turned])])).outputs;
    assert.ok(relativeError(first[0], second[0]) > 1e-3);
  } finally {
    await engine.close();
  }
});
