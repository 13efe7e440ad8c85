import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import sharp from 'sharp';
import { encodePng, type RgbImage } from 'srds/image';
import { fixture } from '../../support/fixtures.js';
import { libraryImage, pixelsOf } from '../../support/images.js';
import { serve } from '../../support/serve.js';
import { post, SD15, SD21V, until } from '../../support/server.js';

const { url } = await serve({ models: [SD15, SD21V, fixture('models/sdxl')] });
const SIZE = { width: 64, height: 64 };

interface Info {
  readonly seed: number;
  readonly sampler_name: string;
  readonly sd_model_name: string;
  readonly infotexts: readonly string[];
  readonly warnings: readonly string[];
}
interface Drawn {
  readonly png: string;
  readonly images: readonly string[];
  readonly info: Info;
}

async function draw(fields: object, path = 'txt2img', base = url, key = ''): Promise<Drawn> {
  const headers = key === '' ? {} : { authorization: `Bearer ${key}` };
  const request = { prompt: 'a red ball', steps: 4, seed: 5, ...SIZE, ...fields };
  const { status, body } = await post(base, `/sdapi/v1/${path}`, request, headers);
  assert.equal(status, 200, JSON.stringify(body));
  const { images, info } = body as { images: string[]; info: string };
  return { png: images[0], images, info: JSON.parse(info) as Info };
}

async function refused(fields: object, path = 'txt2img'): Promise<string> {
  const { status, body } = await post(url, `/sdapi/v1/${path}`, { prompt: 'a', steps: 2, ...SIZE, ...fields });
  assert.equal(status, 400, JSON.stringify(body));
  return (body as { detail: string }).detail;
}

async function get(path: string, base = url, key = ''): Promise<unknown> {
  const response = await fetch(`${base}${path}`, key === '' ? {} : { headers: { authorization: `Bearer ${key}` } });
  assert.equal(response.status, 200, path);
  return response.json();
}

const picture: RgbImage = { ...SIZE, data: Uint8Array.from({ length: 3 * 64 * 64 }, (_, i) => i % 251) };
const base64 = async (image: RgbImage) => (await encodePng(image)).toString('base64');

test('Karras noise levels are those of the library, and stand in the parameters', async () => {
  const options = { prompt: 'a red ball', steps: 4, seed: 5, solver: 'euler', sampler: 'serial' } as const;
  const uniform = (await libraryImage(options)).data;
  const karras = (await libraryImage({ ...options, scheduleType: 'karras' })).data;
  assert.notDeepEqual(uniform, karras);
  for (const fields of [
    { sampler_name: 'Euler', scheduler: 'Karras' },
    { sampler_name: 'Euler Karras' },
    { sampler_index: 'k_euler', scheduler: 'karras' },
  ]) {
    const { png, info } = await draw(fields);
    assert.deepEqual((await pixelsOf(png)).data, karras, JSON.stringify(fields));
    assert.match(info.infotexts[0], /Sampler: Euler, Schedule type: Karras, /);
    assert.deepEqual(info.warnings, []);
  }
  const plain = await draw({ sampler_name: 'Euler', scheduler: 'Automatic', eta: 1 });
  assert.deepEqual((await pixelsOf(plain.png)).data, uniform);
  assert.match(plain.info.warnings.join(), /nothing with eta 1/);
  assert.match((await draw({ sampler_name: 'DPM++ 2M SDE Karras' })).info.warnings.join(), /DPM\+\+ 2M in its place/);
});

test('what is ignored is named, sizes are fitted, and a strict request is refused', async () => {
  const fields = {
    enable_hr: true,
    clip_skip: 2,
    styles: ['x'],
    subseed: 3,
    subseed_strength: 0.5,
    width: 512,
    height: 512,
  };
  const { info, png } = await draw({ ...fields, override_settings: { sd_vae: 'other', eta_noise_seed_delta: 0 } });
  const warnings = info.warnings.join('\n');
  for (const name of ['enable_hr', 'clip_skip', 'styles', 'subseed', 'override_settings.sd_vae', '512x512']) {
    assert.ok(warnings.includes(name), name);
  }
  assert.ok(!warnings.includes('eta_noise'));
  assert.equal((await pixelsOf(png)).width, 128);
  assert.match(await refused({ styles: ['x'], strict: true }), /styles/);
  assert.match(await refused({ width: 512, strict: true }), /64x64.*--max-pixels/);
  assert.match(await refused({ sampler_name: 'UniPC', strict: true }), /UniPC/);
});

test('an empty negative prompt is none, as tools always send one', async () => {
  const model = { sd_model_checkpoint: 'sdxl' };
  const [empty, none] = [
    await draw({ negative_prompt: '', override_settings: model }),
    await draw({ override_settings: model }),
  ];
  assert.equal(empty.png, none.png);
  const { body } = await post(url, '/v1/images/generations', {
    ...{ prompt: 'a red ball', steps: 4, seed: 5, size: '64x64', model: 'sdxl', negative_prompt: '' },
  });
  assert.notDeepEqual(
    (await pixelsOf(empty.png)).data,
    (await pixelsOf((body as { data: { b64_json: string }[] }).data[0].b64_json)).data,
  );
});

test('image to image, and masks by white, by black and by opacity', async () => {
  const options = { prompt: 'a red ball', seed: 5, steps: 6, strength: 0.5, sampler: 'serial', init: picture } as const;
  const image = await base64(picture);
  const fields = { steps: 6, denoising_strength: 0.5, init_images: [image], width: undefined, height: undefined };
  const whole = await draw(fields, 'img2img');
  assert.deepEqual((await pixelsOf(whole.png)).data, (await libraryImage(options)).data);
  const url64 = `data:image/png;base64,${image}`;
  assert.equal((await draw({ ...fields, init_images: [url64] }, 'img2img')).png, whole.png);
  const isFree = (pixel: number) => pixel % 64 >= 24;
  const grey = Uint8Array.from({ length: 64 * 64 }, (_, pixel) => (isFree(pixel) ? 255 : 0));
  const expected = (await libraryImage({ ...options, mask: { ...SIZE, data: grey } })).data;
  assert.notDeepEqual(expected, (await libraryImage(options)).data);
  const colour = (value: (pixel: number) => number) =>
    base64({ ...SIZE, data: Uint8Array.from({ length: 3 * 64 * 64 }, (_, i) => value(Math.floor(i / 3))) });
  const white = await colour((pixel) => (isFree(pixel) ? 255 : 0));
  const black = await colour((pixel) => (isFree(pixel) ? 0 : 255));
  const rgba = Uint8Array.from({ length: 4 * 64 * 64 }, (_, i) =>
    i % 4 === 3 && !isFree(Math.floor(i / 4)) ? 0 : i % 4 === 3 ? 255 : 0,
  );
  const opaque = (
    await sharp(rgba, { raw: { ...SIZE, channels: 4 } })
      .png()
      .toBuffer()
  ).toString('base64');
  for (const mask of [
    { mask: white },
    { mask: black, inpainting_mask_invert: 1 },
    { mask: opaque },
    { mask: white, inpainting_mask_invert: false, inpainting_fill: 1 },
  ]) {
    const { png, info } = await draw({ ...fields, ...mask }, 'img2img');
    assert.deepEqual((await pixelsOf(png)).data, expected, Object.keys(mask).join());
    assert.deepEqual(info.warnings, []);
  }
  const vain = await draw({ ...fields, mask: white, mask_blur: 4, inpainting_fill: 0 }, 'img2img');
  assert.match(vain.info.warnings.join(), /inpainting_fill 0.*mask_blur/);
  const nothing = await colour(() => 0);
  assert.match(await refused({ ...fields, mask: nothing }, 'img2img'), /white pixels where to repaint, found none/);
  assert.match(await refused({ ...fields, init_images: ['no image'] }, 'img2img'), /PNG, JPEG or WebP/);
  assert.match(await refused({ ...fields, init_images: [] }, 'img2img'), /init_images/);
});

test('png-info reads the parameters of an image, in any script', async () => {
  const { png, info } = await draw({ prompt: 'ein grüner Ball, 赤' });
  const { body } = await post(url, '/sdapi/v1/png-info', { image: `data:image/png;base64,${png}` });
  const read = body as { info: string; items: { parameters: string }; parameters: Record<string, string> };
  assert.deepEqual([read.info, read.items.parameters], [info.infotexts[0], info.infotexts[0]]);
  assert.deepEqual([read.parameters.Prompt, read.parameters.Steps], ['ein grüner Ball, 赤', '4']);
  const jpeg = (await sharp(Buffer.from(png, 'base64')).jpeg().toBuffer()).toString('base64');
  const { body: plain } = await post(url, '/sdapi/v1/png-info', { image: jpeg });
  assert.deepEqual(plain, { info: '', items: {}, parameters: {} });
  assert.equal((await post(url, '/sdapi/v1/png-info', { image: 'AAAA' })).status, 400);
});

test('each client chooses a model for itself', async () => {
  const keys = ['the-first-key', 'the-second-key'];
  const { url: locked } = await serve({ models: [SD15, SD21V], apiKeys: keys });
  const chosen = async (key: string) =>
    ((await get('/sdapi/v1/options', locked, key)) as { sd_model_checkpoint: string }).sd_model_checkpoint;
  const choose = (name: string) =>
    post(locked, '/sdapi/v1/options', { sd_model_checkpoint: name, other: 1 }, { authorization: `Bearer ${keys[0]}` });
  assert.deepEqual(
    [(await choose('sd21v')).status, await chosen(keys[0]), await chosen(keys[1])],
    [200, 'sd21v', 'sd15'],
  );
  assert.equal((await draw({}, 'txt2img', locked, keys[0])).info.sd_model_name, 'sd21v');
  assert.equal((await draw({}, 'txt2img', locked, keys[1])).info.sd_model_name, 'sd15');
  const override = { override_settings: { sd_model_checkpoint: 'sd15' } };
  assert.equal((await draw(override, 'txt2img', locked, keys[0])).info.sd_model_name, 'sd15');
  assert.equal((await choose('another')).status, 404);
});

test('progress shows the image so far to its own client only; interrupt ends the run and gives that image', async () => {
  const keys = ['the-first-key', 'the-second-key'];
  const { url: locked } = await serve({ apiKeys: keys });
  const progress = async (key: string, query = '') =>
    (await get(`/sdapi/v1/progress${query}`, locked, key)) as {
      progress: number;
      current_image: string | null;
      state: { job: string };
    };
  for (const sampler of ['Euler', 'DDIM']) {
    const drawing = draw({ steps: 250, n_iter: 2, sampler_name: sampler }, 'txt2img', locked, keys[0]);
    let image: string | null = null;
    await until(async () => (image = (await progress(keys[0])).current_image) !== null);
    assert.equal((await pixelsOf(image!)).width, 64);
    const [hidden, other] = [await progress(keys[0], '?skip_current_image=true'), await progress(keys[1])];
    assert.deepEqual([hidden.current_image, other.current_image, other.state.job], [null, null, '']);
    assert.ok(hidden.progress > 0);
    const authorization = (key: string) => ({ authorization: `Bearer ${key}` });
    // Another client's interruption leaves it alone.
    await post(locked, '/sdapi/v1/interrupt', {}, authorization(keys[1]));
    await delay(50);
    assert.notEqual((await progress(keys[0])).state.job, '');
    assert.equal((await post(locked, '/sdapi/v1/interrupt', {}, authorization(keys[0]))).body, null);
    const { images } = await drawing;
    assert.equal(images.length, 2);
    for (const png of images) assert.equal((await pixelsOf(png)).width, 64);
    assert.equal((await progress(keys[0])).state.job, '');
  }
});

test('what web UIs list and this server has nothing of is empty', async () => {
  for (const name of [
    ...['upscalers', 'latent-upscale-modes', 'realesrgan-models', 'sd-vae', 'sd-modules', 'hypernetworks', 'loras'],
    ...['prompt-styles', 'face-restorers', 'script-info'],
  ]) {
    assert.deepEqual(await get(`/sdapi/v1/${name}`), [], name);
  }
  assert.deepEqual(await get('/sdapi/v1/scripts'), { txt2img: [], img2img: [] });
  assert.deepEqual(await get('/sdapi/v1/embeddings'), { loaded: {}, skipped: {} });
  assert.deepEqual(await get('/sdapi/v1/cmd-flags'), {});
  assert.deepEqual(await get('/controlnet/model_list'), { model_list: [] });
  const { ram } = (await get('/sdapi/v1/memory')) as { ram: Record<'free' | 'used' | 'total', number> };
  assert.equal(ram.free + ram.used, ram.total);
  for (const name of ['refresh-checkpoints', 'skip']) {
    assert.deepEqual((await post(url, `/sdapi/v1/${name}`, {})).body, null);
  }
});
