import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import {
  AttributeProtoSchema,
  GraphProtoSchema,
  NodeProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorProtoSchema,
  type GraphProto,
} from 'onnx-buf';
import { engineConformance } from 'srds/conformance';
import {
  DeviceEngine,
  describeGraph,
  type Engine,
  type Evaluation,
  type GraphFile,
  type GraphInfo,
  type OutputRow,
} from 'srds/engine';
import { Generator } from 'srds/random';
import { float32 } from 'srds/tensor';
import { fixture } from '../support/fixtures.js';
import { changeModel, makeUnwilling, type WholeModel } from '../support/onnx.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

const STOCK = fixture('models/sd15/unet/model.onnx');
const random = new Generator(1);
const text = () => ({ encoder_hidden_states: float32(random.randn(77 * 32), [77, 32]) });
const evaluation = (t: number): Evaluation => ({
  graph: 'unet',
  output: 'out_sample',
  inputs: { sample: float32(random.randn(256), [4, 8, 8]), timestep: float32(Float32Array.of(t), []) },
});
const CONDITIONING = [text(), text()] as const;
const EVALUATIONS = [981, 1, 500.5, 1].map(evaluation);

/** A changed copy of the stock UNet. */
function variant(name: string, change: (model: WholeModel, folder: string) => void): string {
  const folder = join(scratch, name);
  const file = join(folder, 'model.onnx');
  mkdirSync(folder, { recursive: true });
  changeModel(STOCK, file, (model) => change(model, folder));
  return file;
}

/** Moves every weight to a file of its own, as models above 2 GB have them. */
function externalize({ graph }: WholeModel, folder: string): void {
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const tensor of graph.initializer.filter(({ rawData }) => rawData.byteLength > 64)) {
    const entries = { location: 'model.onnx_data', offset, length: tensor.rawData.byteLength };
    tensor.externalData = Object.entries(entries).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value: String(value) }),
    );
    tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
    parts.push(tensor.rawData);
    offset += tensor.rawData.byteLength;
    tensor.rawData = new Uint8Array(0);
  }
  writeFileSync(join(folder, 'model.onnx_data'), Buffer.concat(parts));
}

/** A file and its neighbours as the hub's cache stores them: links to files named by their content. */
function linked(name: string, file: string): string {
  const [blobs, snapshot] = [join(scratch, name, 'blobs'), join(scratch, name, 'snapshots/main/unet')];
  mkdirSync(blobs, { recursive: true });
  mkdirSync(snapshot, { recursive: true });
  for (const part of readdirSync(dirname(file))) {
    const content = readFileSync(join(dirname(file), part));
    const blob = createHash('sha256').update(content).digest('hex');
    writeFileSync(join(blobs, blob), content);
    symlinkSync(join('../../../blobs', blob), join(snapshot, part));
  }
  return join(snapshot, 'model.onnx');
}

const external = variant('external', externalize);
const CASES: Record<string, string> = {
  'a stock UNet': STOCK,
  'a UNet with its weights in another file': external,
  'a UNet in the cache of the hub': linked('cache', STOCK),
  'a UNet with its weights in another file, in the cache of the hub': linked('external-cache', external),
  'a UNet whose timestep is one value in a vector': variant('vector', ({ graph }) => {
    const timestep = graph.input.find(({ name }) => name === 'timestep')?.type?.value;
    assert.ok(timestep?.case === 'tensorType' && timestep.value.shape);
    const sample = graph.input.find(({ name }) => name === 'sample')?.type?.value;
    assert.ok(sample?.case === 'tensorType' && sample.value.shape);
    const [dim] = structuredClone(sample.value.shape.dim);
    timestep.value.shape.dim = [Object.assign(dim, { value: { case: 'dimValue', value: 1n } })];
    const unsqueeze = graph.node.find(({ input }) => input.includes('timestep'));
    assert.ok(unsqueeze);
    Object.assign(unsqueeze, { opType: 'Identity', input: ['timestep'] });
  }),
};

/** The graphs of this file that are compared, by their names. A test's own file is written before the test loads it. */
const NATIVE = join(scratch, 'native', 'model.onnx');
const FILES: Record<string, GraphFile> = { stock: { path: STOCK }, native: { path: NATIVE, perRow: 'timestep' } };
for (const [name, path] of Object.entries(CASES)) FILES[name] = { path, perRow: 'timestep' };
let opened: Promise<DeviceEngine> | undefined;
after(async () => (await opened)?.close());

/** The rows of the evaluations in one of the graphs, which takes them one by one unless it takes a timestep a row. */
async function outputsOf(name: string): Promise<{ info: GraphInfo; rows: OutputRow[] }> {
  const engine = await (opened ??= DeviceEngine.open(FILES, { graphs: [] }));
  await engine.load([name]);
  const conditioning = CONDITIONING.map((inputs) => engine.register(inputs));
  const info = engine.graphs.get(name);
  assert.ok(info);
  const batch = EVALUATIONS.map((one) => ({ ...one, graph: name, conditioning }));
  const rows: OutputRow[] = [];
  for (const some of FILES[name].perRow === undefined ? batch.map((one) => [one]) : [batch]) {
    rows.push(...(await engine.run(some)).outputs.flat());
  }
  for (const id of conditioning) engine.release(id);
  await engine.unload([name]);
  return { info, rows };
}

let stock: ReturnType<typeof outputsOf> | undefined;
/** The rows of the stock file as it is, one evaluation at a time. */
async function stockRows(): Promise<OutputRow[]> {
  stock ??= outputsOf('stock');
  return (await stock).rows;
}

for (const [name, path] of Object.entries(CASES)) {
  test(`${name} takes one timestep a row after it was rewritten, with the same results, ===`, async () => {
    const before = readdirSync(dirname(path)).map((part) => [part, readFileSync(join(dirname(path), part)).length]);
    const rewritten = await outputsOf(name);
    assert.deepEqual(rewritten.info.rewrite, { status: 'rewritten', input: 'timestep' });
    assert.deepEqual(rewritten.info.inputs.find((input) => input.name === 'timestep')?.dims, ['batch_size']);
    assert.deepEqual(rewritten.rows, await stockRows());
    const now = readdirSync(dirname(path)).map((part) => [part, readFileSync(join(dirname(path), part)).length]);
    assert.deepEqual(now, before);
  });
}

test('a UNet that takes one timestep a row is left as it is', async () => {
  variant('native', ({ graph }) => {
    const [sample, timestep] = ['sample', 'timestep'].map((name) => graph.input.find((input) => input.name === name));
    assert.ok(sample?.type?.value.case === 'tensorType' && timestep?.type?.value.case === 'tensorType');
    assert.ok(timestep.type.value.value.shape && sample.type.value.value.shape);
    timestep.type.value.value.shape.dim = sample.type.value.value.shape.dim.slice(0, 1);
    const unsqueeze = graph.node.find(({ input }) => input.includes('timestep'));
    assert.ok(unsqueeze);
    Object.assign(unsqueeze, { opType: 'Identity', input: ['timestep'] });
  });
  const { info, rows } = await outputsOf('native');
  assert.equal(info.rewrite, undefined);
  assert.deepEqual(rows, await stockRows());
});

test('a UNet that cannot be rewritten works as it is, and says why', async () => {
  const engine = await DeviceEngine.open({ unet: { path: variant('unwilling', makeUnwilling), perRow: 'timestep' } });
  try {
    const rewrite = engine.graphs.get('unet')?.rewrite;
    assert.deepEqual(rewrite, {
      status: 'impossible',
      input: 'timestep',
      why: 'timestep reaches Abs before it is expanded',
    });
    const conditioning = CONDITIONING.map((inputs) => engine.register(inputs));
    const { outputs } = await engine.run([{ ...EVALUATIONS[0], conditioning }]);
    // One row for each conditioning.
    assert.deepEqual(outputs[0], (await stockRows()).slice(0, CONDITIONING.length));
  } finally {
    await engine.close();
  }
});

test('a graph that only looks like a stock one is left as it is', async () => {
  const other = (change: (graph: GraphProto) => void) => variant(`other-${randomUUID()}`, ({ graph }) => change(graph));
  const axes = (graph: GraphProto, name: string, values: readonly bigint[]) => {
    const rawData = new Uint8Array(BigInt64Array.from(values).buffer);
    graph.initializer.push(create(TensorProtoSchema, { name, dims: [BigInt(values.length)], dataType: 7, rawData }));
  };
  const cases: [string, (graph: GraphProto) => void, RegExp][] = [
    [
      'two axes',
      (graph) => {
        axes(graph, 'both', [0n, 1n]);
        const node = graph.node.find(({ input }) => input.includes('timestep'));
        assert.ok(node);
        node.input[1] = 'both';
      },
      /reaches Unsqueeze/,
    ],
    [
      'expanded to a matrix',
      (graph) => {
        axes(graph, 'matrix', [1n, 1n]);
        const node = graph.node.find(({ opType }) => opType === 'Expand');
        assert.ok(node);
        node.input[1] = 'matrix';
      },
      /expanded to more than the batch/,
    ],
    [
      'used in a loop',
      (graph) => {
        const body = create(GraphProtoSchema, { node: [{ opType: 'Abs', input: ['timestep'], output: ['inside'] }] });
        const attribute = [create(AttributeProtoSchema, { name: 'body', g: body })];
        graph.node.push(create(NodeProtoSchema, { opType: 'Loop', input: ['', ''], output: ['after'], attribute }));
      },
      /in a loop/,
    ],
  ];
  for (const [name, change, why] of cases) {
    const { rewrite, inputs } = await describeGraph({ path: other(change), perRow: 'timestep' });
    assert.ok(rewrite?.status === 'impossible', name);
    assert.match(rewrite.why, why);
    assert.deepEqual(inputs.find((input) => input.name === 'timestep')?.dims, []);
  }
});

test('weights outside the folder of their graph are refused', async () => {
  const path = variant('outside', (model, folder) => {
    externalize(model, folder);
    for (const { externalData } of model.graph.initializer) {
      for (const entry of externalData) if (entry.key === 'location') entry.value = `../external/${entry.value}`;
    }
  });
  await assert.rejects(DeviceEngine.open({ unet: { path, perRow: 'timestep' } }), {
    code: 'MODEL_INVALID',
    message: /outside its folder/,
  });
});

test('if one graph fails to load, none is loaded', async () => {
  const broken = join(scratch, 'broken.onnx');
  writeFileSync(broken, 'no graph');
  const engine = await DeviceEngine.open(
    { a: { path: STOCK }, b: { path: broken } },
    { graphs: [], workers: 2, threads: 1 },
  );
  try {
    for (let k = 0; k < 3; k++) await assert.rejects(engine.load(['a', 'b']), { code: 'MODEL_INVALID' });
    assert.equal(engine.graphs.size, 0);
    const batch = [
      { ...EVALUATIONS[0], graph: 'a', conditioning: CONDITIONING.map((inputs) => engine.register(inputs)) },
    ];
    await assert.rejects(engine.run(batch), { code: 'ENGINE_FAILED' });
    await engine.load(['a']);
    assert.equal((await engine.run(batch)).outputs[0].length, 2);
  } finally {
    await engine.close();
  }
});

for (const workers of [1, 2]) {
  let shared: Promise<DeviceEngine> | undefined;
  const own = () => DeviceEngine.open({ unet: { path: STOCK, perRow: 'timestep' } }, { workers, threads: 1 });
  /** The engine of all checks, which closes after them. */
  const common = async () => {
    const engine = await (shared ??= own());
    return Object.create(engine, { close: { value: () => Promise.resolve() } }) as Engine;
  };
  after(async () => (await shared)?.close());
  const given = { name: `cpu, ${workers} workers`, evaluations: EVALUATIONS, conditioning: CONDITIONING };
  const closing = (name: string) => name.includes('closed');
  const checks = [
    ...engineConformance({ ...given, open: common }).filter(({ name }) => !closing(name)),
    ...engineConformance({ ...given, open: own }).filter(({ name }) => closing(name)),
  ];
  for (const { name, run } of checks) test(name, run);
}

test('graphs can be freed and loaded again', async () => {
  const engine = await DeviceEngine.open({ unet: { path: STOCK } }, { graphs: [] });
  try {
    assert.equal(engine.graphs.size, 0);
    const conditioning = CONDITIONING.map((inputs) => engine.register(inputs));
    const batch = [{ ...EVALUATIONS[0], conditioning }];
    await assert.rejects(engine.run(batch), { code: 'ENGINE_FAILED' });
    await engine.load(['unet']);
    const { outputs } = await engine.run(batch);
    await engine.unload(['unet']);
    await assert.rejects(engine.run(batch), { code: 'ENGINE_FAILED' });
    await Promise.all([engine.load(['unet']), engine.load(['unet'])]);
    assert.deepEqual((await engine.run(batch)).outputs, outputs);
  } finally {
    await engine.close();
  }
});
