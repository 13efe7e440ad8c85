import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Evaluation } from 'srds/engine';
import { Generator } from 'srds/random';
import { float32, type Tensor } from 'srds/tensor';
import { LocalDevice } from '../../../src/engine/local/localDevice.js';
import type { GraphFile } from '../../../src/onnx/graphInfo.js';
import { ROOT } from '../../support/fixtures.js';

const random = new Generator(3);
const TEXTS = Object.fromEntries(
  ['a', 'b', 'c'].map((id) => [id, { encoder_hidden_states: float32(random.randn(32 * 128), [32, 128]) }]),
);

function evaluation(k: number, conditioning: readonly string[], side = 32): Evaluation {
  const sample = float32(random.randn(4 * side * side), [4, side, side]);
  const inputs = { sample, timestep: float32(Float32Array.of(999 - 100 * k), []) };
  return { graph: 'unet', output: 'out_sample', inputs, conditioning };
}

/** A CPU with buckets and sessions over the C API, as GPUs have them, or with one plain session. */
async function openDevice(cApi: boolean, file: GraphFile, warnings: string[] = []): Promise<LocalDevice> {
  const buckets = cApi ? [1, 2, 4] : [];
  const settings = { device: { kind: 'cpu', index: 0 }, threads: 1, buckets, fused: false, cApi } as const;
  const registered = new Map<string, Readonly<Record<string, Tensor>>>(Object.entries(TEXTS));
  const state = { files: { unet: file }, loaded: new Map(), registered };
  const device = new LocalDevice(settings, state, (warning) => warnings.push(warning));
  await device.loadGraphs(['unet']);
  for (const [id, inputs] of registered) device.register(id, inputs);
  return device;
}

const UNET = { path: `${ROOT}models/scenes-128/unet/model.onnx`, perRow: 'timestep', replayed: true };

test('over the C API a batch is === that of a plain session: padded, in parts, of another size, with more conditioning', async () => {
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
      const [native, plain] = await Promise.all(devices.map((device) => device.run(batch, () => true)));
      assert.deepEqual(native.outputs, plain.outputs);
    }
    assert.deepEqual(warnings, []);
  } finally {
    await Promise.all(devices.map((device) => device.close()));
  }
});
