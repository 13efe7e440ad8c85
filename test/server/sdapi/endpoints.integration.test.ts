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
  assert.deepEqual(await get('options'), { sd_model_checkpoint: 'sd15' });
  const wrong = await post(url, '/sdapi/v1/txt2img', { steps: 'many' });
  assert.equal(wrong.status, 400);
  assert.match((wrong.body as { detail: string }).detail, /steps: expected number/);
});
