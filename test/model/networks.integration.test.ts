import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Pipeline } from 'srds';
import { Batcher } from 'srds/engine';
import { encodePrompt, Networks, readModelFolder } from 'srds/model';
import { float32 } from 'srds/tensor';
import { fixture, reference, relativeError } from '../support/fixtures.js';
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
