import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readModelFolder } from 'srds/model';
import { float32 } from 'srds/tensor';
import { fixture } from '../support/fixtures.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

/** A copy of a fixture with further fields in a JSON file of it. */
function withFields(model: string, file: string, fields: object): string {
  const folder = mkdtempSync(join(scratch, 'model-'));
  cpSync(fixture(`models/${model}`), folder, { recursive: true });
  const path = join(folder, file);
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), ...fields }));
  return folder;
}

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

// As torch.nn.functional.pad with a negative length, which diffusers' own tests of the pipeline rely on.
test("SD3 cuts the joined states of CLIP to the width of T5's", async () => {
  const { family, network } = await readModelFolder(fixture('models/sd3'));
  const states = (values: number[], rows: number) => float32(Float32Array.from(values), [rows, values.length / rows]);
  const pooled = float32(Float32Array.of(0), [1]);
  const encoded = [
    { hidden: states([1, 2, 5, 6], 2), pooled },
    { hidden: states([3, 4, 7, 8], 2), pooled },
    { hidden: states([9, 10, 11], 1), pooled: undefined },
  ];
  const given = { size: { width: 32, height: 32 }, latents: [4, 8, 8], guidance: 5 };
  const { encoder_hidden_states: joined } = family.condition(encoded, {
    network: { ...network, textWidth: 3 },
    ...given,
  });
  assert.deepEqual(joined, states([1, 2, 3, 5, 6, 7, 9, 10, 11], 3));
});

test("the VAE's statistics of latents count for SDXL, both together, and not for Stable Diffusion 1 and 2", async () => {
  const scale = async (model: string, fields: object) => {
    const { mean, deviation } = (await readModelFolder(withFields(model, 'vae_decoder/config.json', fields)))
      .latentScale;
    return [mean, deviation];
  };
  const none = [Array<number>(4).fill(0), Array<number>(4).fill(1)];
  const [mean, deviation] = [
    [1, 2, 3, 4],
    [5, 6, 7, 8],
  ];
  assert.deepEqual(await scale('sdxl', { latents_mean: mean, latents_std: deviation }), [mean, deviation]);
  assert.deepEqual(await scale('sdxl', { latents_mean: mean }), none);
  assert.deepEqual(await scale('sdxl', { latents_mean: mean, latents_std: null }), none);
  for (const model of ['sd15', 'sd21v']) {
    assert.deepEqual(await scale(model, { latents_mean: mean, latents_std: deviation }), none);
    assert.deepEqual(await scale(model, { latents_mean: [1], latents_std: 'x' }), none);
  }
  for (const fields of [{ latents_mean: [1, 2, 3], latents_std: deviation }, { latents_std: [1, 2, 3, 4, 5] }]) {
    await assert.rejects(scale('sdxl', fields), {
      code: 'MODEL_INVALID',
      message: /latents_(mean|std): expected 4 numbers/,
    });
  }
});

test('model_index.json names the scheduler, whatever the file of the scheduler says', async () => {
  const solver = async (scheduler: unknown) => {
    const model = await readModelFolder(withFields('sd15', 'model_index.json', { scheduler }));
    return [model.scheduler.className, model.scheduler.solver];
  };
  assert.deepEqual(await solver(['diffusers', 'EulerDiscreteScheduler']), ['EulerDiscreteScheduler', 'euler']);
  assert.deepEqual(await solver(['diffusers', 'OwnScheduler']), ['OwnScheduler', undefined]);
  assert.deepEqual(await solver(undefined), ['PNDMScheduler', 'ddim']);
});

test("Stable Diffusion's pipeline overrides its scheduler's offset and clipping, also where they are defaults of the class", async () => {
  const fields = { steps_offset: 0, clip_sample: true, _use_default_values: ['steps_offset', 'clip_sample'] };
  const { scheduler } = await readModelFolder(withFields('sd15', 'scheduler/scheduler_config.json', fields));
  const schedule = scheduler.scheduleFor('ddim');
  assert.ok(schedule.scheduler !== 'flow');
  assert.deepEqual([schedule.stepsOffset, schedule.bound], [1, undefined]);
});
