// Graphs as GPUs run them best, in lanes, against the same files as they are.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LocalEngine } from 'srds/engine';
import { Generator } from 'srds/random';
import { float32, sizeOf, type Tensor } from 'srds/tensor';
import { fixture, ROOT } from './support/fixtures.js';
import { changeModel, type WholeModel } from './support/onnx.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

/** Largest difference of two rows between a graph in a lane and as it is, as a share of the largest value. */
async function difference(path: string, output: string, dims: Readonly<Record<string, readonly number[]>>) {
  const random = new Generator(5);
  const row = (): Record<string, Tensor> =>
    Object.fromEntries(
      Object.entries(dims).map(([name, shape]) => [
        name,
        name === 'timestep' ? float32(Float32Array.of(321), []) : float32(random.randn(sizeOf(shape)), shape),
      ]),
    );
  const batch = [row(), row()].map((inputs) => ({ graph: 'g', output, inputs }));
  const outputs: Float32Array[] = [];
  for (const lanes of [undefined, [2]]) {
    const engine = await LocalEngine.open({ g: { path, perRow: 'timestep' } }, { lanes });
    try {
      const { outputs: rows } = await engine.run(batch);
      outputs.push(Float32Array.from(rows.flatMap(([values]) => [...values])));
    } finally {
      await engine.close();
    }
  }
  const [plain, lane] = outputs;
  const worst = plain.reduce((most, value, k) => Math.max(most, Math.abs(value - lane[k])), 0);
  return worst / plain.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

const UNET = (width: number) => ({ sample: [4, 8, 8], timestep: [], encoder_hidden_states: [7, width] });

for (const [name, path, output, dims] of [
  ['the bundled UNet', `${ROOT}models/scenes-128/unet`, 'out_sample', UNET(128)],
  ['the bundled decoder', `${ROOT}models/scenes-128/vae_decoder`, 'sample', { latent_sample: [4, 8, 8] }],
  ['SD 1.5', fixture('models/sd15/unet'), 'out_sample', UNET(32)],
  ['SD 2.1', fixture('models/sd21v/unet'), 'out_sample', UNET(32)],
  [
    'SDXL',
    fixture('models/sdxl/unet'),
    'out_sample',
    { ...UNET(64), text_embeds: [32], time_ids: [6] } as Record<string, readonly number[]>,
  ],
] as const) {
  test(`${name}: attention and group normalization in other operators give the same`, async () => {
    const share = await difference(`${path}/model.onnx`, output, dims);
    // Not bit by bit: they add in another order.
    assert.ok(share > 0 && share < 5e-6, String(share));
  });
}

const node = ({ graph }: WholeModel, type: string) => graph.node.find(({ opType }) => opType === type)!;
const constant = ({ graph }: WholeModel, name: string) =>
  graph.node.find(({ output }) => output.includes(name))!.attribute[0].t!;

for (const [what, change] of Object.entries({
  'a normalization with a scale of its own': (model: WholeModel) => {
    const scale = constant(model, node(model, 'InstanceNormalization').input[1]);
    scale.rawData = new Uint8Array(Float32Array.from({ length: Number(scale.dims[0]) }, (_, k) => 1 + k).buffer);
  },
  'a normalization with a shift of its own': (model: WholeModel) => {
    const shift = constant(model, node(model, 'InstanceNormalization').input[2]);
    shift.rawData = new Uint8Array(Float32Array.from({ length: Number(shift.dims[0]) }, (_, k) => k).buffer);
  },
  'a softmax over the queries': (model: WholeModel) => {
    node(model, 'Softmax').attribute.find(({ name }) => name === 'axis')!.i = -2n;
  },
  'a softmax that is squared': ({ graph }: WholeModel) => {
    const softmax = graph.node.find(({ opType }) => opType === 'Softmax')!;
    const after = graph.node.find(({ opType, input }) => opType === 'MatMul' && input[0] === softmax.output[0])!;
    // softmax(scores) v, with softmax(scores)^2 in its place
    const at = graph.node.indexOf(after);
    const squared = {
      ...softmax,
      opType: 'Mul',
      name: 'squared',
      attribute: [],
      input: [softmax.output[0], softmax.output[0]],
      output: ['squared'],
    };
    graph.node.splice(at, 0, squared);
    after.input[0] = 'squared';
  },
} satisfies Record<string, (model: WholeModel) => void>)) {
  test(`${what} is left as it is`, async () => {
    const file = join(scratch, `${what}.onnx`);
    changeModel(fixture('models/sd15/unet/model.onnx'), file, change);
    const share = await difference(file, 'out_sample', UNET(32));
    assert.ok(share < 5e-6, String(share));
  });
}
