import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readModelFolder } from 'srds/model';
import { float32 } from 'srds/tensor';
import { fixture } from '../support/fixtures.js';

test('each folder has the family of its pipeline class', async () => {
  const ids = ['sd15', 'sd21v', 'sdxl', 'sd3', 'sd3-no-t5', 'flux-dev', 'flux-schnell'].map(
    async (name) => (await readModelFolder(fixture(`models/${name}`))).family.id,
  );
  assert.deepEqual(await Promise.all(ids), ['sd', 'sd', 'sdxl', 'sd3', 'sd3', 'flux', 'flux']);
});

test('SDXL conditions on two text encoders and the size; without a negative prompt all but the size is zero', async () => {
  const { family, network } = await readModelFolder(fixture('models/sdxl'));
  const encoded = [1, 2].map((value) => ({
    hidden: float32(new Float32Array(2).fill(value), [2, 1]),
    pooled: float32(Float32Array.of(10 * value), [1]),
  }));
  const conditioning = family.condition(encoded, {
    network,
    size: { width: 32, height: 64 },
    latents: [4, 8, 4],
    guidance: 5,
  });
  assert.deepEqual(conditioning, {
    encoder_hidden_states: float32(Float32Array.of(1, 2, 1, 2), [2, 2]),
    text_embeds: float32(Float32Array.of(20), [1]),
    time_ids: float32(Float32Array.of(64, 32, 0, 0, 64, 32), [6]),
  });
  assert.deepEqual(family.zeroed(conditioning), {
    encoder_hidden_states: float32(new Float32Array(4), [2, 2]),
    text_embeds: float32(new Float32Array(1), [1]),
    time_ids: conditioning.time_ids,
  });
});
