import assert from 'node:assert/strict';
import { test } from 'node:test';
import { libraryImage, pixelsOf } from '../../support/images.js';
import { serve } from '../../support/serve.js';
import { post } from '../../support/server.js';

const { url } = await serve();

test("web UIs' tools receive the names, images and parameters that they expect", async () => {
  const expected = await libraryImage({
    prompt: 'a red ball',
    seed: 5,
    steps: 4,
    guidance: 3,
    solver: 'euler',
    sampler: 'serial',
  });
  const { status, body } = await post(url, '/sdapi/v1/txt2img', {
    prompt: 'a red ball',
    seed: 5,
    steps: 4,
    cfg_scale: 3,
    sampler_name: 'Euler',
    width: 64,
    height: 64,
    restore_faces: false,
    alwayson_scripts: {},
  });
  assert.equal(status, 200);
  const { images, info } = body as { images: string[]; info: string };
  assert.deepEqual((await pixelsOf(images[0])).data, expected.data);
  const { seed, infotexts } = JSON.parse(info) as { seed: number; infotexts: string[] };
  assert.equal(seed, 5);
  assert.match(infotexts[0], /^a red ball\nSteps: 4, Sampler: Euler, CFG scale: 3, Seed: 5/);
  const get = async (path: string) => (await fetch(`${url}/sdapi/v1/${path}`)).json() as Promise<unknown>;
  assert.deepEqual(((await get('samplers')) as { name: string }[]).map(({ name }) => name).slice(0, 2), [
    'DDIM',
    'DDPM',
  ]);
  assert.equal(((await get('sd-models')) as { model_name: string }[])[0].model_name, 'sd15');
  assert.equal(((await get('progress')) as { progress: number }).progress, 0);
  assert.equal(((await get('options')) as { sd_model_checkpoint: string }).sd_model_checkpoint, 'sd15');
  const wrong = await post(url, '/sdapi/v1/txt2img', { steps: 'many' });
  assert.equal(wrong.status, 400);
  assert.match((wrong.body as { detail: string }).detail, /^expected a number for steps, found "many"; see /);
});

test('seeds up to 2^64 - 1 are taken exactly, as numbers and as text, and answered', async () => {
  const seed = 2n ** 64n - 2n;
  const expected = await libraryImage({ prompt: 'a', seed, steps: 2, sampler: 'serial' });
  const request = { prompt: 'a', steps: 2, width: 64, height: 64 };
  const send = async (path: string, fields: object, written: string) => {
    const body = JSON.stringify({ ...fields, seed: 'SEED' }).replace('"SEED"', written);
    const response = await fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  for (const written of [`${seed}`, `"${seed}"`]) {
    const { body } = await send('/sdapi/v1/txt2img', request, written);
    const { images, info, parameters } = body as { images: string[]; info: string; parameters: { seed: unknown } };
    assert.deepEqual((await pixelsOf(images[0])).data, expected.data);
    const { seed: used, all_seeds: all, infotexts } = JSON.parse(info) as Record<string, string[]>;
    assert.deepEqual([used, all, parameters.seed], [`${seed}`, [`${seed}`], `${seed}`]);
    assert.match(infotexts[0], new RegExp(`Seed: ${seed},`));
    const { body: openai } = await send(
      '/v1/images/generations',
      { prompt: 'a', steps: 2, sampler: 'serial' },
      written,
    );
    const [{ seed: own, b64_json: png }] = openai.data as { seed: string; b64_json: string }[];
    assert.equal(own, `${seed}`);
    assert.deepEqual((await pixelsOf(png)).data, expected.data);
  }
  for (const path of ['/sdapi/v1/txt2img', '/v1/images/generations']) {
    assert.equal((await send(path, { prompt: 'a', steps: 2 }, `${2n ** 64n}`)).status, 400);
    assert.equal((await send(path, { prompt: 'a', steps: 2, n: 2, n_iter: 2 }, `${2n ** 64n - 1n}`)).status, 400);
  }
  for (const written of ['-1', '"-1"', '""', 'null']) {
    const { status, body } = await send('/sdapi/v1/txt2img', request, written);
    assert.equal(status, 200);
    const { seed: used } = JSON.parse(body.info as string) as { seed: number };
    assert.ok(used >= 0 && used < 2 ** 32);
  }
});
