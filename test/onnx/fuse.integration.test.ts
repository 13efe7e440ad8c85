// Graphs as GPUs run them best, in buckets, against the same files as they are.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { NodeProtoSchema, TensorProtoSchema, ValueInfoProtoSchema, type NodeProto } from 'onnx-buf';
import { DeviceEngine, type Fused, type GraphFile } from 'srds/engine';
import { Generator } from 'srds/random';
import { float32, sizeOf, type Tensor } from 'srds/tensor';
import { fixture, ROOT } from '../support/fixtures.js';
import { changeModel, type WholeModel } from '../support/onnx.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

/** Graphs by the paths of their files. A test's own file is written before the test loads it. */
const files: Record<string, GraphFile> = {};
let opened: Promise<DeviceEngine>[] | undefined;
/** An engine that runs graphs as they are and one that runs them in a bucket, for all tests of this file. */
const engines = () =>
  Promise.all((opened ??= [undefined, [2]].map((buckets) => DeviceEngine.open(files, { graphs: [], buckets }))));
after(() => opened && engines().then((all) => Promise.all(all.map((engine) => engine.close()))));

/**
 * Adds a graph to the engines.
 * @returns compares two rows of the graph in a bucket and as it is: their largest difference, as a share of the largest
 *   value, and what was fused
 */
function comparison(path: string, output: string, dims: Readonly<Record<string, readonly number[]>>) {
  files[path] = { path, perRow: 'timestep' };
  return async () => {
    const random = new Generator(5);
    const row = (): Record<string, Tensor> =>
      Object.fromEntries(
        Object.entries(dims).map(([name, shape]) => [
          name,
          name === 'timestep' ? float32(Float32Array.of(321), []) : float32(random.randn(sizeOf(shape)), shape),
        ]),
      );
    const batch = [row(), row()].map((inputs) => ({ graph: path, output, inputs }));
    const outputs: Float32Array[] = [];
    const fused: (Fused | undefined)[] = [];
    for (const engine of await engines()) {
      await engine.load([path]);
      fused.push(engine.graphs.get(path)!.fused);
      const { outputs: rows } = await engine.run(batch);
      outputs.push(Float32Array.from(rows.flatMap(([values]) => [...values])));
      await engine.unload([path]);
    }
    assert.equal(fused[0], undefined, 'graphs without buckets run as they are');
    const [plain, bucket] = outputs;
    const worst = plain.reduce((most, value, k) => Math.max(most, Math.abs(value - bucket[k])), 0);
    return { share: worst / plain.reduce((most, value) => Math.max(most, Math.abs(value)), 0), fused: fused[1] };
  };
}

const UNET = (width: number) => ({ sample: [4, 8, 8], timestep: [], encoder_hidden_states: [7, width] });

for (const [name, path, output, dims, attentions, normalizations, residuals, projections] of [
  ['the bundled UNet', `${ROOT}models/scenes-128/unet`, 'out_sample', UNET(128), 14, 30, 14, 2],
  ['the bundled decoder', `${ROOT}models/scenes-128/vae_decoder`, 'sample', { latent_sample: [4, 8, 8] }, 1, 18, 0, 0],
  ['SD 1.5', fixture('models/sd15/unet'), 'out_sample', UNET(32), 8, 21, 8, 2],
  ['SD 2.1', fixture('models/sd21v/unet'), 'out_sample', UNET(32), 8, 21, 8, 2],
  [
    'SDXL',
    fixture('models/sdxl/unet'),
    'out_sample',
    { ...UNET(64), text_embeds: [32], time_ids: [6] } as Record<string, readonly number[]>,
    16,
    21,
    16,
    2,
  ],
] as const) {
  const compare = comparison(`${path}/model.onnx`, output, dims);

  test(`${name}: attention, group normalization and projections in other operators give the same`, async () => {
    const { share, fused } = await compare();
    assert.deepEqual(fused, { attentions, normalizations, residuals, projections });
    assert.ok(share < 5e-6, String(share));
  });
}

test('as exported, a graph in a bucket is the one of its file', async () => {
  const options = { buckets: [2], fused: false };
  const engine = await DeviceEngine.open({ g: { path: fixture('models/sd15/unet/model.onnx') } }, options);
  assert.equal(engine.graphs.get('g')?.fused, undefined);
  await engine.close();
});

const STOCK = fixture('models/sd15/unet/model.onnx');
const nodeOf = ({ graph }: WholeModel, type: string) => graph.node.find(({ opType }) => opType === type)!;
const nodesOf = ({ graph }: WholeModel, type: string) => graph.node.filter(({ opType }) => opType === type);
const maker = ({ graph }: WholeModel, name: string) => graph.node.find(({ output }) => output.includes(name))!;
const constant = (model: WholeModel, name: string) => maker(model, name).attribute[0].t!;
const floats = (values: Iterable<number>) => new Uint8Array(Float32Array.from(values).buffer);
const integers = (values: number[]) => new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer);
/** Gives a Reshape a shape of its own. */
function reshape({ graph }: WholeModel, node: NodeProto, shape: number[]): void {
  const name = `${node.name}/shape`;
  const dims = [BigInt(shape.length)];
  graph.initializer.push(create(TensorProtoSchema, { name, dataType: 7, dims, rawData: integers(shape) }));
  node.input[1] = name;
}

const WHOLE = { attentions: 8, normalizations: 21, residuals: 8, projections: 2 };
for (const [what, change, fused] of [
  [
    'a normalization with a scale of its own',
    (model) => {
      const scale = constant(model, nodeOf(model, 'InstanceNormalization').input[1]);
      scale.rawData = floats(Array.from({ length: Number(scale.dims[0]) }, (_, k) => 1 + k));
    },
    { ...WHOLE, normalizations: 20 },
  ],
  [
    'a normalization with a shift of its own',
    (model) => {
      const shift = constant(model, nodeOf(model, 'InstanceNormalization').input[2]);
      shift.rawData = floats(Array.from({ length: Number(shift.dims[0]) }, (_, k) => k));
    },
    { ...WHOLE, normalizations: 20 },
  ],
  [
    'a normalization of a sum over two axes',
    (model) => {
      const norm = nodesOf(model, 'LayerNormalization')[1];
      norm.attribute.find(({ name }) => name === 'axis')!.i = -2n;
      // 64 tokens of 12
      norm.input = norm.input.map((name, k) => {
        if (k === 0) return name;
        const rawData = floats(Array.from({ length: 64 * 12 }, (_, j) => 1 + (j % 5) / 5));
        model.graph.initializer.push(
          create(TensorProtoSchema, { name: `${name}/all`, dataType: 1, dims: [64n, 12n], rawData }),
        );
        return `${name}/all`;
      });
    },
    { ...WHOLE, residuals: 7 },
  ],
  [
    'a projection whose bias is one number',
    (model) => {
      const projection = model.graph.node.find(
        ({ opType, output }) => opType === 'Gemm' && /time_emb/.test(output[0]),
      )!;
      const one = create(TensorProtoSchema, { name: 'one bias', dataType: 1, dims: [1n], rawData: floats([0.25]) });
      model.graph.initializer.push(one);
      projection.input[2] = one.name;
    },
    WHOLE,
  ],
  [
    'a softmax over the queries',
    (model) => {
      nodeOf(model, 'Softmax').attribute.find(({ name }) => name === 'axis')!.i = -2n;
    },
    { ...WHOLE, attentions: 7, residuals: 7 },
  ],
  [
    'weights that are changed before they are used',
    (model) => {
      const softmax = nodeOf(model, 'Softmax');
      const after = model.graph.node.find(({ input }) => input[0] === softmax.output[0])!;
      const input = [softmax.output[0], softmax.output[0]];
      const squared = create(NodeProtoSchema, { opType: 'Mul', name: 'squared', input, output: ['squared'] });
      model.graph.node.splice(model.graph.node.indexOf(after), 0, squared);
      after.input[0] = 'squared';
    },
    { ...WHOLE, attentions: 7, residuals: 7 },
  ],
  [
    'attention over the rows of a batch together',
    (model) => {
      // 12 channels in 2 heads of 6, all rows one sequence
      const softmax = nodeOf(model, 'Softmax');
      const after = model.graph.node.find(({ input }) => input[0] === softmax.output[0])!;
      const keys = maker(model, maker(model, softmax.input[0]).input[1]);
      for (let made of [maker(model, maker(model, softmax.input[0]).input[0]), keys, maker(model, after.input[1])]) {
        while (made.opType !== 'Reshape') made = maker(model, made.input[0]);
        reshape(model, made, [1, -1, 2, 6]);
      }
      const transposed = model.graph.node.find(({ input }) => input[0] === after.output[0])!;
      const merged = model.graph.node.find(({ input }) => input[0] === transposed.output[0])!;
      reshape(model, merged, [2, -1, 12]);
    },
    { ...WHOLE, attentions: 7, residuals: 7 },
  ],
] satisfies [string, (model: WholeModel) => void, Fused][]) {
  const file = join(scratch, `${what}.onnx`);
  const compare = comparison(file, 'out_sample', UNET(32));

  test(`${what} is left as it is`, async () => {
    changeModel(STOCK, file, change);
    const result = await compare();
    assert.deepEqual(result.fused, fused);
    assert.ok(result.share < 5e-6, String(result.share));
  });
}

const moreOutputs = join(scratch, 'outputs.onnx');
const compareMoreOutputs = comparison(moreOutputs, 'out_sample', UNET(32));

test('what an output of the graph or anyone else reads is still computed', async () => {
  changeModel(STOCK, moreOutputs, ({ graph }) => {
    const softmax = graph.node.find(({ opType }) => opType === 'Softmax')!;
    graph.output.push(create(ValueInfoProtoSchema, { ...graph.output[0], name: softmax.output[0] }));
  });
  const result = await compareMoreOutputs();
  assert.deepEqual(result.fused, { ...WHOLE, attentions: 7, residuals: 7 });
  assert.ok(result.share < 5e-6, String(result.share));
});

const old = join(scratch, 'old.onnx');
const compareOld = comparison(old, 'sample', { latent_sample: [4, 8, 8] });

test('before LayerNormalization was an operator, only attention is fused', async () => {
  changeModel(fixture('models/sd15/vae_decoder/model.onnx'), old, (model) => {
    model.opsetImport[0].version = 14n;
  });
  const result = await compareOld();
  assert.deepEqual(result.fused, { attentions: 1, normalizations: 0, residuals: 0, projections: 0 });
  assert.ok(result.share < 5e-6, String(result.share));
});
