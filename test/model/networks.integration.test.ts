import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { NodeProtoSchema } from 'onnx-buf';
import { Pipeline } from 'srds';
import { Batcher, DeviceEngine } from 'srds/engine';
import type { RgbImage } from 'srds/image';
import { encodePrompt, Networks, readModelFolder, type ModelFolder } from 'srds/model';
import { Generator } from 'srds/random';
import { float32, sizeOf } from 'srds/tensor';
import { fileFor } from '../../src/engine/local/session.js';
import { graphFiles, latentDims } from '../../src/model/modelFolder.js';
import { prepareModel } from '../../src/onnx/prepare.js';
import { fixture, reference, relativeError, ROOT } from '../support/fixtures.js';
import { changeModel, makeHalf } from '../support/onnx.js';

/** No warning is expected. */
function fail(message: string): never {
  throw new Error(message);
}

for (const model of ['sd15', 'sd21v', 'sdxl']) {
  test(`${model}: text encoders, network and VAE decoder equal torch's`, async () => {
    const probe = reference(`refs/${model}/probe`);
    const embeddings = reference(`refs/${model}/embeddings`);
    const folder = await readModelFolder(fixture(`models/${model}`));
    const pipeline = await Pipeline.open(folder);
    try {
      const { engine } = pipeline;
      const networks = new Networks(folder, engine, new Batcher(engine));
      const prompts = JSON.parse(embeddings.metadata.prompts) as string[];
      for (const [i, text] of prompts.entries()) {
        folder.textEncoders.forEach((encoder, k) => {
          const key = `${i}.input_ids${k === 0 ? '' : '_2'}`;
          assert.deepEqual(encoder!.tokenizer.encode(text, 77).ids, embeddings.numbers(key));
        });
        const conditioning = await encodePrompt(
          folder,
          networks,
          { name: 'prompt', text },
          { size: { width: 32, height: 32 }, guidance: 1 },
          fail,
        );
        const { encoder_hidden_states: hidden, text_embeds: pooled } = conditioning;
        assert.ok(relativeError(hidden.data as Float32Array, embeddings.floats(`${i}.prompt_embeds`)) < 1e-5);
        if (model === 'sdxl') {
          assert.ok(relativeError(pooled.data as Float32Array, embeddings.floats(`${i}.pooled_prompt_embeds`)) < 1e-5);
        }
      }
      const [rows, ...dims] = probe.shape('sample');
      const size = probe.floats('sample').length / rows;
      const given = ['encoder_hidden_states', 'text_embeds', 'time_ids'].filter((name) => name in probe.tensors);
      const id = engine.register(
        Object.fromEntries(given.map((name) => [name, float32(probe.floats(name), probe.shape(name).slice(1))])),
      );
      // All timesteps in one batch: the graph was rewritten to take one a row.
      const { outputs } = await engine.run(
        probe.numbers('timestep').map((t, i) => ({
          graph: 'unet',
          output: 'out_sample',
          inputs: {
            sample: float32(probe.floats('sample').slice(i * size, (i + 1) * size), dims),
            timestep: float32(Float32Array.of(t), []),
          },
          conditioning: [id],
        })),
      );
      const generated = Float32Array.from(outputs.flatMap(([row]) => [...row]));
      assert.ok(relativeError(generated, probe.floats('out_sample')) < 1e-5);
    } finally {
      await pipeline.close();
    }
  });
}

test('a decoder that gives 8 bits decodes to the image, ===, that it gives without; latents that are not finite are an error', async () => {
  const model = await readModelFolder(fixture('models/sd15'));
  const { vae_decoder: decoder } = graphFiles(model);
  const [width, height] = [64, 32];
  const latents = new Generator(5).randn(sizeOf(latentDims(model, { width, height })));
  const images: RgbImage[] = [];
  for (const imageOn of [['cpu'], ['cuda']] as const) {
    const engine = await DeviceEngine.open({ vae_decoder: { ...decoder, imageOn } });
    try {
      assert.equal(engine.graphs.get('vae_decoder')!.image !== undefined, imageOn[0] === 'cpu');
      const networks = new Networks(model, engine, new Batcher(engine));
      const { signal } = new AbortController();
      images.push(await networks.decode(latents, width, height, signal));
      const broken = latents.with(7, NaN);
      await assert.rejects(networks.decode(broken, width, height, signal), { code: 'MODEL_INVALID' });
    } finally {
      await engine.close();
    }
  }
  assert.deepEqual(images[0], images[1]);
  assert.deepEqual([images[0].width, images[0].height, images[0].data.length], [width, height, 3 * width * height]);
});

test('a decoder that overflows is an error, with its output in 8 bits too; an image of one value is none', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'srds-'));
  const model = await readModelFolder(fixture('models/sd15'));
  const { vae_decoder: decoder } = graphFiles(model);
  const [width, height] = [64, 32];
  const latents = new Generator(5).randn(sizeOf(latentDims(model, { width, height })));
  const decodedBy = async (
    operators: readonly (readonly [type: string, ...inputs: string[]])[],
    kind: 'cpu' | 'cuda',
  ) => {
    const path = join(folder, 'model.onnx');
    changeModel(decoder.path, path, ({ graph }) => {
      const [{ name }] = graph.output;
      for (const node of graph.node) node.output = node.output.map((output) => (output === name ? 'o0' : output));
      operators.forEach(([opType, ...input], k) => {
        const output = [k + 1 === operators.length ? name : `o${k + 1}`];
        graph.node.push(create(NodeProtoSchema, { opType, input, output }));
      });
    });
    const engine = await DeviceEngine.open({ vae_decoder: { ...decoder, path, imageOn: [kind] } });
    try {
      const networks = new Networks(model, engine, new Batcher(engine));
      return await networks.decode(latents, width, height, new AbortController().signal);
    } finally {
      await engine.close();
    }
  };
  try {
    for (const kind of ['cpu', 'cuda'] as const) {
      const roots = decodedBy(
        [
          ['Abs', 'o0'],
          ['Neg', 'o1'],
          ['Sqrt', 'o2'],
        ],
        kind,
      );
      await assert.rejects(roots, { code: 'MODEL_INVALID', message: /finite numbers from .*--precision float32/ });
      const { data } = await decodedBy([['Sub', 'o0', 'o0']], kind);
      assert.deepEqual(new Set(data), new Set([128]));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('graphs with float16 inputs and outputs give nearly the same image, and SRDS with them the serial sample, ===', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'srds-'));
  try {
    cpSync(fixture('models/sdxl'), folder, { recursive: true });
    for (const graph of ['text_encoder', 'text_encoder_2', 'unet', 'vae_decoder']) {
      const file = join(folder, graph, 'model.onnx');
      changeModel(file, file, makeHalf);
    }
    const options = { prompt: 'a red ball', steps: 10, seed: 3 } as const;
    const generated = async (model: string, ...runs: object[]) => {
      const pipeline = await Pipeline.open(model);
      const all: Float32Array[] = [];
      for (const more of runs) {
        const { images } = await pipeline.generate({ ...options, ...more }).result;
        all.push(images[0].latents);
      }
      await pipeline.close();
      return all;
    };
    const [wide] = await generated(fixture('models/sdxl'), { sampler: 'serial' });
    const [serial, exact] = await generated(folder, { sampler: 'serial' }, { tolerance: 0 });
    const error = relativeError(serial, wide);
    assert.ok(error > 0 && error < 1e-2, `${error}`);
    assert.deepEqual(exact, serial);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the decoder computes in the precision of its weights on CUDA only, and in float32 where SDXL upcasts it or it is asked for', async () => {
  const fileOn = (model: ModelFolder, kind: 'cpu' | 'cuda' | 'webgpu', precision?: 'auto' | 'float16') =>
    fileFor(graphFiles(model, precision).vae_decoder, { device: { kind, index: 0 } });
  const bundled = await readModelFolder(`${ROOT}models/scenes-128`);
  // It runs once an image, so that timing all algorithms of its convolutions does not pay.
  const { unet, vae_decoder: decoder } = graphFiles(bundled, 'auto');
  assert.deepEqual([unet.searches, decoder.searches], [undefined, false]);
  for (const precision of ['auto', 'float16'] as const) {
    assert.equal(fileOn(bundled, 'cuda', precision).precision, 'auto');
    for (const kind of ['cpu', 'webgpu'] as const) assert.equal(fileOn(bundled, kind, precision).precision, undefined);
  }
  assert.equal(fileOn(bundled, 'cuda').precision, undefined);
  const prepared = await prepareModel(fileOn(bundled, 'cuda', 'auto'), { kind: 'cuda', fused: true });
  assert.equal(prepared.precision, 'float16');
  assert.ok(prepared.withKernels());

  const folder = mkdtempSync(join(tmpdir(), 'srds-'));
  try {
    cpSync(fixture('models/sdxl'), folder, { recursive: true });
    const configuration = join(folder, 'vae_decoder', 'config.json');
    const config = JSON.parse(readFileSync(configuration, 'utf8')) as object;
    for (const [upcast, expected] of [
      [undefined, undefined],
      [true, undefined],
      [false, 'auto'],
    ] as const) {
      writeFileSync(configuration, JSON.stringify({ ...config, force_upcast: upcast }));
      assert.equal(fileOn(await readModelFolder(folder), 'cuda', 'auto').precision, expected);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
