import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodePng } from 'srds/image';
import { pixelsOf } from '../support/images.js';
import { serve } from '../support/serve.js';
import { post } from '../support/server.js';

const { url } = await serve();

/** What the tiny model draws in place of 512x512 and more. */
async function assertLargest(file: string | Uint8Array, what: string): Promise<void> {
  const { format, width, height } = await pixelsOf(file);
  assert.deepEqual([format, width, height], ['png', 128, 128], what);
}

async function get<Content>(path: string, headers: Record<string, string> = {}): Promise<Content> {
  const response = await fetch(url + path, { headers });
  assert.equal(response.status, 200, path);
  return (await response.json()) as Content;
}

async function images(path: string, body: object, headers: Record<string, string> = {}): Promise<string[]> {
  const { status, body: answer } = await post(url, path, body, headers);
  assert.equal(status, 200, JSON.stringify(answer));
  return (answer as { images: string[] }).images;
}

const grey = async (level: number) =>
  (await encodePng({ width: 64, height: 64, data: new Uint8Array(3 * 64 * 64).fill(level) })).toString('base64');

test('Open WebUI: it reads the options, sends them all back with its model, and generates by both APIs', async () => {
  const headers = { authorization: '' };
  const options = await get<{ sd_model_checkpoint: string }>('/sdapi/v1/options', headers);
  assert.equal((await get<{ title: string }[]>('/sdapi/v1/sd-models', headers))[0].title, options.sd_model_checkpoint);
  assert.equal((await post(url, '/sdapi/v1/options', options, headers)).status, 200);
  const request = { prompt: 'a red ball', batch_size: 1, width: 512, height: 512, steps: 4, negative_prompt: '' };
  const more = { cfg_scale: 7, sampler_name: 'DPM++ 2M', scheduler: 'Karras' };
  await assertLargest((await images('/sdapi/v1/txt2img', { ...request, ...more }, headers))[0], 'web UI');
  const openai = { model: 'dall-e-2', prompt: 'a red ball', n: 1, size: '512x512', response_format: 'b64_json' };
  const { body } = await post(url, '/v1/images/generations?api-version=2024-02-01', { ...openai, steps: 4 });
  await assertLargest((body as { data: { b64_json: string }[] }).data[0].b64_json, 'OpenAI');
});

test('SillyTavern: it lists everything, chooses its model, waits until nothing runs and sends all of its settings', async () => {
  const headers = { authorization: 'Basic Og==' };
  for (const name of ['upscalers', 'latent-upscale-modes', 'sd-vae', 'sd-modules']) {
    assert.deepEqual(await get(`/sdapi/v1/${name}`, headers), [], name);
  }
  for (const name of ['samplers', 'schedulers']) {
    for (const entry of await get<{ name: string }[]>(`/sdapi/v1/${name}`, headers)) assert.ok(entry.name);
  }
  await post(url, '/sdapi/v1/options', { sd_model_checkpoint: 'sd15' }, headers);
  const { progress, state } = await get<{ progress: number; state: { job_count: number } }>('/sdapi/v1/progress');
  assert.deepEqual([progress, state.job_count], [0, 0]);
  const request = {
    url,
    auth: 'user:password',
    prompt: 'a red ball',
    negative_prompt: 'blurry',
    sampler_name: 'Euler a',
    scheduler: 'Automatic',
    steps: 4,
    cfg_scale: 7,
    width: 512,
    height: 512,
    restore_faces: false,
    enable_hr: false,
    hr_upscaler: 'Latent',
    hr_scale: 2,
    hr_additional_modules: [],
    denoising_strength: 0.7,
    hr_second_pass_steps: 0,
    override_settings: { CLIP_stop_at_last_layers: 1, sd_vae: 'Automatic', forge_additional_modules: [] },
    override_settings_restore_afterwards: true,
    clip_skip: 1,
    save_images: true,
    send_images: true,
    do_not_save_grid: false,
    do_not_save_samples: false,
  };
  const { status, body } = await post(url, '/sdapi/v1/txt2img', request, headers);
  assert.equal(status, 200);
  const { images: files, info } = body as { images: string[]; info: string };
  await assertLargest(files[0], 'SillyTavern');
  // Nothing but the sampler and the size differs from what it asked for.
  const { warnings } = JSON.parse(info) as { warnings: string[] };
  assert.equal(warnings.length, 2, warnings.join('\n'));
  assert.ok(!JSON.stringify(body).includes('user:password'));
  const interrupted = await fetch(`${url}/sdapi/v1/interrupt`, { method: 'POST', headers });
  assert.equal(interrupted.status, 200);
});

test('Discord bots: older names, random seeds as -1, several images, then the information of a file', async () => {
  const request = {
    prompt: 'a red ball',
    negative_prompt: '',
    steps: 4,
    sampler_index: 'DPM++ 2M SDE Karras',
    cfg_scale: 7,
    seed: -1,
    width: 512,
    height: 512,
    batch_size: 1,
    n_iter: 2,
    tiling: false,
    restore_faces: true,
    s_churn: 0,
    s_noise: 1,
    eta: 0,
    alwayson_scripts: { ADetailer: { args: [{ ad_model: 'face_yolov8n.pt' }] } },
  };
  const files = await images('/sdapi/v1/txt2img', request);
  assert.equal(files.length, 2);
  for (const file of files) await assertLargest(file, 'Discord');
  const { body } = await post(url, '/sdapi/v1/png-info', { image: `data:image/png;base64,${files[1]}` });
  assert.match((body as { info: string }).info, /^a red ball\nSteps: 4, Sampler: DPM\+\+ 2M, Schedule type: Karras/);
});

test('GIMP plug-ins: inpainting with every field of the web UI', async () => {
  const request = {
    init_images: [`data:image/png;base64,${await grey(120)}`],
    mask: await grey(255),
    mask_blur: 4,
    inpainting_fill: 1,
    inpaint_full_res: false,
    inpaint_full_res_padding: 0,
    inpainting_mask_invert: 0,
    resize_mode: 0,
    denoising_strength: 0.8,
    prompt: 'a red ball',
    negative_prompt: '',
    styles: [],
    seed: -1,
    subseed: -1,
    subseed_strength: 0,
    batch_size: 1,
    n_iter: 1,
    steps: 5,
    cfg_scale: 7.5,
    width: 512,
    height: 512,
    restore_faces: false,
    tiling: false,
    eta: 0,
    sampler_index: 'Euler a',
    include_init_images: false,
    override_settings: {},
  };
  await get('/sdapi/v1/cmd-flags');
  await assertLargest((await images('/sdapi/v1/img2img', request))[0], 'GIMP');
});

test('Home Assistant: DALL-E 3 by URL, with a style and a quality', async () => {
  const request = {
    model: 'dall-e-3',
    prompt: 'a red ball',
    size: '1024x1024',
    quality: 'standard',
    style: 'vivid',
    response_format: 'url',
    n: 1,
  };
  const { status, body } = await post(url, '/v1/images/generations', request);
  assert.equal(status, 200);
  const [{ url: address }] = (body as { data: { url: string }[] }).data;
  await assertLargest(new Uint8Array(await (await fetch(address)).arrayBuffer()), 'Home Assistant');
});
