import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { DeviceEngine, type Evaluation } from 'srds/engine';
import { activationMemory, BUNDLED_MODEL, readModelFolder } from 'srds/model';
import { float32, int64 } from 'srds/tensor';
import { fixture, ROOT } from '../support/fixtures.js';

const MIB = 2 ** 20;

/** Bytes in a field of a process's status. */
function statusOf(pid: number, field: string): number {
  const [, kibibytes] = new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
  return 1024 * Number(kibibytes);
}

/** Bytes by which two runs of a graph of the bundled model raise the peak memory of a process. */
async function growth(graph: 'unet' | 'vae_decoder', pixels: number, rows: number): Promise<number> {
  const path = `${ROOT}models/scenes-128/${graph}/model.onnx`;
  const file = graph === 'unet' ? { path, perRow: 'timestep' } : { path };
  const engine = await DeviceEngine.open({ [graph]: file });
  try {
    const [pid] = engine.pids;
    const before = statusOf(pid, 'VmRSS');
    const side = pixels / 4;
    const { inputs, outputs } = engine.graphs.get(graph)!;
    const sample = float32(new Float32Array(4 * side * side).fill(0.1), [4, side, side]);
    const text = float32(new Float32Array(32 * 128), [32, 128]);
    const evaluation: Evaluation =
      graph === 'unet'
        ? {
            graph,
            output: outputs[0].name,
            inputs: { sample, timestep: float32(Float32Array.of(500), []) },
            conditioning: [engine.register({ encoder_hidden_states: text })],
          }
        : { graph, output: outputs[0].name, inputs: { [inputs[0].name]: sample } };
    for (let run = 0; run < 2; run++) await engine.run(Array<Evaluation>(rows).fill(evaluation));
    return statusOf(pid, 'VmHWM') - before;
  } finally {
    await engine.close();
  }
}

/** The same for the transformer of the tiny Flux. @param tokens of T5 */
async function transformerGrowth(pixels: number, tokens: number): Promise<number> {
  const path = fixture('models/flux-dev/transformer/model.onnx');
  const engine = await DeviceEngine.open({ transformer: { path, constants: ['img_ids', 'txt_ids'] } });
  try {
    const [pid] = engine.pids;
    const before = statusOf(pid, 'VmRSS');
    const count = (pixels / 8) ** 2;
    const id = engine.register({
      encoder_hidden_states: float32(new Float32Array(40 * tokens).fill(0.1), [tokens, 40]),
      pooled_projections: float32(new Float32Array(24), [24]),
      img_ids: int64(Array<number>(3 * count).fill(1), [count, 3]),
      txt_ids: int64(Array<number>(3 * tokens).fill(0), [tokens, 3]),
      guidance: float32(Float32Array.of(3.5), []),
    });
    const evaluation: Evaluation = {
      graph: 'transformer',
      output: 'out_hidden_states',
      inputs: {
        hidden_states: float32(new Float32Array(64 * count).fill(0.1), [count, 64]),
        timestep: float32(Float32Array.of(0.5), []),
      },
      conditioning: [id],
    };
    for (let run = 0; run < 2; run++) await engine.run([evaluation]);
    return statusOf(pid, 'VmHWM') - before;
  } finally {
    await engine.close();
  }
}

test(
  'the estimate is near what a process takes for a transformer',
  { skip: process.platform !== 'linux' },
  async () => {
    const model = await readModelFolder(fixture('models/flux-dev'));
    const estimate = activationMemory(model, { width: 384, height: 384 }).denoiserRow;
    const peak = await transformerGrowth(384, 512);
    const what = `${Math.round(estimate / MIB)} MiB estimated, ${Math.round(peak / MIB)} measured`;
    assert.ok(Math.abs(estimate / peak - 1) < 0.2, what);
  },
);

test('the estimate is near what a process takes', { skip: process.platform !== 'linux' }, async () => {
  const model = await readModelFolder(BUNDLED_MODEL);
  // Memory that loading has freed holds part of a small run.
  for (const [graph, pixels, rows, error] of [
    ['unet', 256, 2, 0.25],
    ['unet', 384, 1, 0.1],
    ['vae_decoder', 256, 1, 0.25],
    ['vae_decoder', 384, 1, 0.1],
  ] as const) {
    const { denoiserRow, vaeRow } = activationMemory(model, { width: pixels, height: pixels });
    const estimate = graph === 'unet' ? rows * denoiserRow : vaeRow;
    const peak = await growth(graph, pixels, rows);
    const what = `${graph} at ${pixels}: ${Math.round(estimate / MIB)} MiB estimated, ${Math.round(peak / MIB)} measured`;
    assert.ok(Math.abs(estimate / peak - 1) < error, what);
  }
});

test('it grows with the square of the positions that the largest attention has', async () => {
  const model = await readModelFolder(BUNDLED_MODEL);
  const at = (width: number, height = width) => activationMemory(model, { width, height });
  assert.ok(at(1024).denoiserRow / at(512).denoiserRow > 15 && at(1024).vaeRow / at(512).vaeRow > 15);
  assert.deepEqual(at(1024, 256), at(512));
  const without = {
    ...model,
    vaeAttention: false,
    network: {
      ...model.network,
      levels: (latents: number) => model.network.levels(latents).map((level) => ({ ...level, heads: 0 })),
    },
  };
  const plain = (width: number) => activationMemory(without, { width, height: width });
  assert.deepEqual([plain(1024).denoiserRow / plain(512).denoiserRow, plain(1024).vaeRow / plain(512).vaeRow], [4, 4]);
});
