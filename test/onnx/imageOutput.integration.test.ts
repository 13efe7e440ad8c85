import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Evaluation, GraphFile, GraphInfo, OutputRow } from 'srds/engine';
import { toRgb } from 'srds/image';
import { Generator } from 'srds/random';
import { float32 } from 'srds/tensor';
import { LocalDevice } from '../../src/engine/local/localDevice.js';
import type { ProcessSettings } from '../../src/engine/local/protocol.js';
import { fixture } from '../support/fixtures.js';
import { changeModel, fixAxis, makeHalf, writeSmall, type WholeModel } from '../support/onnx.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));
process.env.XDG_CACHE_HOME = join(scratch, 'cache');

const random = new Generator(11);
const CPU = { kind: 'cpu', index: 0 } as const;
const SESSIONS: Readonly<Record<string, Pick<ProcessSettings, 'buckets' | 'fused' | 'cApi'>>> = {
  'one session': { buckets: [], fused: false, cApi: false },
  'plain buckets': { buckets: [1, 2], fused: true, cApi: false },
  'buckets over the C API': { buckets: [1, 2], fused: true, cApi: true },
};

/** Runs with a device that gives images in 8 bits, if the graph has any. No warning is expected. */
async function withDevice(
  file: Omit<GraphFile, 'imageOn'>,
  settings: Pick<ProcessSettings, 'buckets' | 'fused' | 'cApi'>,
  use: (device: LocalDevice, info: GraphInfo) => Promise<void>,
): Promise<void> {
  const files = { decoder: { ...file, replayed: true, imageOn: ['cpu'] as const } };
  const state = { files, loaded: new Map<string, GraphInfo>(), registered: new Map() };
  const onWarning = (warning: string) => assert.fail(warning);
  const reports = { onWarning, onRestart: () => undefined };
  const device = new LocalDevice({ device: CPU, threads: 1, ...settings }, state, undefined, reports);
  try {
    const { decoder } = await device.loadGraphs(['decoder']);
    state.loaded.set('decoder', decoder);
    await use(device, decoder);
  } finally {
    await device.close();
  }
}

/** The rows of an output, of a batch of rows of the only input. */
async function rowsOf(
  device: LocalDevice,
  { inputs: [{ name }] }: GraphInfo,
  output: string,
  rows: readonly Float32Array[],
  dims: readonly number[],
): Promise<OutputRow[]> {
  const batch = rows.map((row): Evaluation => ({ graph: 'decoder', output, inputs: { [name]: float32(row, dims) } }));
  return (await device.run(batch, {})).outputs.flat();
}

/** Values next to those that are halves after scaling to 255, and some that no decoder should give. */
function hardValues(): number[] {
  const bits = new Int32Array(1);
  const value = new Float32Array(bits.buffer);
  const nextToHalves = Array.from({ length: 255 }, (_, k) => (2 * (k + 0.5)) / 255 - 1).flatMap((half) =>
    Array.from({ length: 9 }, (_, steps) => {
      value[0] = half;
      bits[0] += steps - 4;
      return value[0];
    }),
  );
  return [...nextToHalves, 0, -0, 1, -1, 1e-40, 3e38, -3e38, Infinity, -Infinity, NaN];
}

const [HEIGHT, WIDTH] = [24, 40];
const DIMS = [3, HEIGHT, WIDTH];
const HARD = hardValues();
/** Three images. The values are in each, at other places. */
const IMAGES = [0, 1, 2].map((image) => {
  const values = random.randn(3 * HEIGHT * WIDTH);
  HARD.forEach((value, k) => (values[(k + 17 * image) % values.length] = value));
  return values;
});

/** Declares the output as the input is declared. */
function typeOutput({ graph: { input, output } }: WholeModel): void {
  output[0].type = input[0].type!;
}

const decoder = join(scratch, 'decoder.onnx');
writeSmall(decoder, {
  nodes: [['Identity', 'x', 'y']],
  inputs: { x: ['rows', 3, 'height', 'width'] },
  outputs: 'y',
});
changeModel(decoder, decoder, typeOutput);

for (const [name, settings] of Object.entries(SESSIONS)) {
  test(`${name}: images in 8 bits are === toRgb of the values, in every batch, and the values stay as they were`, async () => {
    await withDevice({ path: decoder }, settings, async (device, info) => {
      assert.deepEqual(
        info.outputs.map((output) => output.name),
        ['y'],
      );
      const expected = IMAGES.map((image) => toRgb(image, WIDTH, HEIGHT).data);
      for (const count of [1, 3, 2, 1]) {
        assert.deepEqual(
          await rowsOf(device, info, info.image!, IMAGES.slice(0, count), DIMS),
          expected.slice(0, count),
        );
        assert.deepEqual(await rowsOf(device, info, 'y', IMAGES.slice(0, count), DIMS), IMAGES.slice(0, count));
      }
    });
  });
}

const VAE = fixture('models/sd15/vae_decoder/model.onnx');
const half = join(scratch, 'half.onnx');
changeModel(VAE, half, makeHalf);
const fixed = join(scratch, 'fixed.onnx');
changeModel(VAE, fixed, (model) => fixAxis(model, 'latent_sample', 0, 2));

for (const [name, file] of Object.entries<GraphFile>({
  'a decoder': { path: VAE },
  'one computed in half precision': { path: VAE, precision: 'float16' },
  'one with float16 inputs and outputs': { path: half },
  'one for batches of two': { path: fixed },
})) {
  test(`${name}: its images in 8 bits are === toRgb of its output`, async () => {
    const latents = [0, 1, 2].map(() => random.randn(4 * 8 * 6));
    await withDevice(file, SESSIONS['buckets over the C API'], async (device, info) => {
      const decoded = await rowsOf(device, info, info.outputs[0].name, latents, [4, 8, 6]);
      const images = await rowsOf(device, info, info.image!, latents, [4, 8, 6]);
      const [height, width] = [8, 6].map((side) => side * Math.sqrt(decoded[0].length / (3 * 8 * 6)));
      const expected = decoded.map((row) => toRgb(Float32Array.from(row), width, height).data);
      assert.deepEqual(images, expected);
    });
  });
}

for (const [what, dims] of [
  ['no images', ['rows', 3, 8]],
  ['images of four channels', ['rows', 4, 8, 8]],
] as const) {
  test(`a graph with ${what} has no output in 8 bits`, async () => {
    const path = join(scratch, 'other.onnx');
    writeSmall(path, { nodes: [['Identity', 'x', 'y']], inputs: { x: dims }, outputs: 'y' });
    changeModel(path, path, typeOutput);
    await withDevice({ path }, SESSIONS['one session'], (_, info) => {
      assert.equal(info.image, undefined);
      return Promise.resolve();
    });
  });
}

test('where the operators are of an older set, there is no output in 8 bits', async () => {
  const path = join(scratch, 'older.onnx');
  changeModel(decoder, path, ({ opsetImport: [own] }) => (own.version = 10n));
  await withDevice({ path }, SESSIONS['one session'], async (device, info) => {
    assert.equal(info.image, undefined);
    assert.deepEqual(await rowsOf(device, info, 'y', IMAGES, DIMS), IMAGES);
  });
});

test('on another kind of device than the named ones there is no output in 8 bits', async () => {
  const state = {
    files: { decoder: { path: VAE, imageOn: ['cuda'] as const } },
    loaded: new Map(),
    registered: new Map(),
  };
  const reports = { onWarning: (warning: string) => assert.fail(warning), onRestart: () => undefined };
  const device = new LocalDevice({ device: CPU, threads: 1, ...SESSIONS['one session'] }, state, undefined, reports);
  try {
    assert.equal((await device.loadGraphs(['decoder'])).decoder.image, undefined);
  } finally {
    await device.close();
  }
});
