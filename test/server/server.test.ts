import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import sharp from 'sharp';
import { Pipeline } from 'srds';
import { encodePng, type RgbImage } from 'srds/image';
import { parseConfig, type RunningServer } from 'srds/server';
import { z } from 'zod';
import { post, SD15, SD21V, startTiny } from '../support/server.js';

const KEY = 'a-key-of-the-test';
const servers: RunningServer[] = [];
after(() => Promise.all(servers.map((server) => server.close())));

async function serve(settings: Parameters<typeof startTiny>[0] = {}): Promise<string> {
  const server = await startTiny(settings);
  servers.push(server);
  return server.url;
}

const url = await serve();
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });

/** Pixels of a file, as base64 or bytes. */
async function pixelsOf(file: string | Uint8Array): Promise<RgbImage & { format: string }> {
  const bytes = typeof file === 'string' ? Buffer.from(file, 'base64') : file;
  const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
  return {
    data: new Uint8Array(data),
    width: info.width,
    height: info.height,
    format: (await sharp(bytes).metadata()).format,
  };
}

/** What the library draws. */
async function drawn(options: Parameters<Pipeline['generate']>[0]): Promise<RgbImage> {
  const pipeline = await Pipeline.open(SD15, { threads: 1 });
  try {
    return (await pipeline.generate(options).result).images[0].rgb!;
  } finally {
    await pipeline.close();
  }
}

test("OpenAI's client draws what the library draws, as content and as an address", async () => {
  const expected = await drawn({ prompt: 'a red ball', seed: 7, steps: 5, sampler: 'serial' });
  const wanted = { prompt: 'a red ball', seed: 7, steps: 5 } as unknown as { prompt: string };
  const { data, usage, size, output_format } = await openai.images.generate({ model: 'gpt-image-1', n: 2, ...wanted });
  assert.deepEqual([data?.length, size, output_format], [2, '64x64', 'png']);
  assert.deepEqual((await pixelsOf(data![0].b64_json!)).data, expected.data);
  assert.notDeepEqual((await pixelsOf(data![1].b64_json!)).data, expected.data);
  assert.deepEqual([usage?.input_tokens, usage?.output_tokens], [3, 10]);
  const linked = await openai.images.generate({ response_format: 'url', ...wanted });
  const address = linked.data![0].url!;
  assert.ok(address.startsWith(`${url}/files/`));
  const file = await fetch(address);
  assert.equal(file.headers.get('content-type'), 'image/png');
  assert.equal(file.headers.get('cross-origin-resource-policy'), 'cross-origin');
  assert.deepEqual((await pixelsOf(new Uint8Array(await file.arrayBuffer()))).data, expected.data);
  assert.equal((await fetch(`${url}/files/${'0'.repeat(36)}`)).status, 404);
});

test('formats and their quality, a size and seeds that are random unless given', async () => {
  const bytes: number[] = [];
  for (const output_compression of [5, 95]) {
    const { data } = await openai.images.generate({
      prompt: 'a',
      size: '64x64',
      output_format: 'jpeg',
      output_compression,
    });
    assert.equal((await pixelsOf(data![0].b64_json!)).format, 'jpeg');
    bytes.push(data![0].b64_json!.length);
  }
  assert.ok(bytes[0] < bytes[1]);
  const { data } = await openai.images.generate({ prompt: 'a', size: '64x32', output_format: 'webp' });
  const { format, width, height } = await pixelsOf(data![0].b64_json!);
  assert.deepEqual([format, width, height], ['webp', 64, 32]);
  const seeds = await Promise.all(
    [1, 2].map(
      async () => ((await openai.images.generate({ prompt: 'a' })).data![0] as unknown as { seed: number }).seed,
    ),
  );
  assert.notEqual(seeds[0], seeds[1]);
});

test('a stream has the coarse image first, then refinements, then the image', async () => {
  const events: string[] = [];
  const images: string[] = [];
  const stream = await openai.images.generate({
    ...({ steps: 16, blocks: 4, tolerance: 0, seed: 3 } as object),
    prompt: 'a red ball',
    stream: true,
    partial_images: 3,
  });
  for await (const event of stream) {
    const { srds } = event as unknown as { srds: { iteration?: number; status?: string } };
    events.push(`${event.type} ${srds.iteration ?? srds.status}`);
    images.push(event.b64_json);
    if (event.type === 'image_generation.completed') assert.ok(event.usage.output_tokens > 16);
    else assert.equal(event.partial_image_index, events.length - 1);
  }
  assert.deepEqual(events, [
    'image_generation.partial_image 0',
    'image_generation.partial_image 1',
    'image_generation.partial_image 2',
    'image_generation.completed exact',
  ]);
  const expected = await drawn({ prompt: 'a red ball', seed: 3, steps: 16, sampler: 'serial' });
  assert.deepEqual((await pixelsOf(images[3])).data, expected.data);
  assert.notDeepEqual((await pixelsOf(images[0])).data, expected.data);
});

test('everything that happens can be followed; the coarse image comes before the first refinement has ended', async () => {
  const response = await fetch(`${url}/srds/v1/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'a red ball', steps: 36, tolerance: 0, seed: 3 }),
  });
  const event = z.object({ iteration: z.int().optional(), evaluations: z.unknown().optional() });
  const events = [...(await response.text()).matchAll(/event: (\w+)\ndata: (.*)\n/g)].map(([, type, data]) => {
    const { iteration, evaluations } = event.parse(JSON.parse(data));
    return { type, iteration, evaluations: type === 'batch' ? (evaluations as number[][]) : [] };
  });
  assert.deepEqual(
    events.slice(0, 2).map(({ type }) => type),
    ['queued', 'started'],
  );
  assert.equal(events.at(-1)?.type, 'done');
  const coarse = events.findIndex(({ type, iteration }) => type === 'iteration' && iteration === 0);
  const first = events.findIndex(({ type, iteration }) => type === 'iteration' && iteration === 1);
  assert.ok(coarse > 0 && events.findIndex(({ type }) => type === 'preview') < first);
  const refining = events.findLastIndex(
    ({ type, evaluations }) => type === 'batch' && evaluations.some(([k]) => k === 1),
  );
  assert.ok(coarse < refining);
  const counted = events.filter(({ type }) => type === 'batch').flatMap(({ evaluations }) => evaluations);
  assert.equal(new Set(counted.map(String)).size, counted.length);
});

test('image to image', async () => {
  const picture: RgbImage = {
    width: 64,
    height: 64,
    data: Uint8Array.from({ length: 3 * 64 * 64 }, (_, i) => i % 251),
  };
  const expected = await drawn({ prompt: 'a', seed: 2, steps: 8, sampler: 'serial', init: picture, strength: 0.5 });
  const image = await toFile(await encodePng(picture), 'a.png', { type: 'image/png' });
  const extra = { steps: 8, seed: 2, strength: 0.5, sampler: 'serial' } as object;
  const { data } = await openai.images.edit({ image, prompt: 'a', ...extra });
  assert.deepEqual((await pixelsOf(data![0].b64_json!)).data, expected.data);
  const events: string[] = [];
  const stream = await openai.images.edit({
    ...extra,
    ...{ sampler: 'srds' },
    image,
    prompt: 'a',
    stream: true,
    partial_images: 1,
  });
  for await (const { type } of stream) events.push(type);
  assert.deepEqual(events, ['image_edit.partial_image', 'image_edit.completed']);
  const svg = await toFile(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), 'a.svg');
  await assert.rejects(openai.images.edit({ image: svg, prompt: 'a' }), { status: 400, code: 'invalid_image' });
  // A photo is brought to the model's size; its own name may be anything.
  const photo = await sharp({ create: { width: 800, height: 400, channels: 3, background: '#406080' } })
    .png()
    .toBuffer();
  const large = await openai.images.edit({ image: await toFile(photo, 'b.png'), prompt: 'a', ...extra });
  assert.equal(large.size, '96x48');
  const form = new FormData();
  form.append('__proto__', new Blob([new Uint8Array(300_000)]), 'a.png');
  form.append('prompt', 'a');
  const response = await fetch(`${url}/v1/images/edits`, { method: 'POST', body: form });
  assert.equal(response.status, 400);
  assert.ok((await response.text()).length < 1000);
});

test('what is asked for in vain is said; seeds beyond 2^53 are text, both ways', async () => {
  const options = { prompt: 'a', steps: 2, sampler: 'serial' };
  const vain = await post(url, '/v1/images/generations', { ...options, blocks: 2 });
  assert.match((vain.body as { warnings: string[] }).warnings.join(), /serial does nothing with blocks/);
  const two = await post(url, '/v1/images/generations', { ...options, n: 2, seed: Number.MAX_SAFE_INTEGER });
  const [first, second] = (two.body as { data: { seed: number | string; b64_json: string }[] }).data;
  assert.deepEqual([first.seed, second.seed], [Number.MAX_SAFE_INTEGER, '9007199254740992']);
  const again = await post(url, '/v1/images/generations', { ...options, seed: second.seed });
  assert.equal((again.body as { data: { b64_json: string }[] }).data[0].b64_json, second.b64_json);
  assert.equal('warnings' in (again.body as object), false);
});

test('models, and errors as OpenAI has them', async () => {
  const two = await serve({ models: [SD15, SD21V] });
  const client = new OpenAI({ baseURL: `${two}/v1`, apiKey: 'none', maxRetries: 0 });
  const names: string[] = [];
  for await (const { id } of client.models.list()) names.push(id);
  assert.deepEqual(names, ['sd15', 'sd21v']);
  assert.equal((await client.models.retrieve('sd21v')).owned_by, 'srds');
  assert.equal((await client.models.retrieve('dall-e-3')).id, 'sd15');
  const { model } = (await client.images.generate({ model: 'sd21v', prompt: 'a', ...{ steps: 2 } })) as unknown as {
    model: string;
  };
  assert.equal(model, 'sd21v');
  await assert.rejects(client.images.generate({ model: 'other', prompt: 'a' }), OpenAI.NotFoundError);
  await assert.rejects(client.images.generate({ prompt: 'a', n: 11 }), {
    status: 400,
    param: 'n',
    type: 'invalid_request_error',
  });
  await assert.rejects(client.images.generate({ prompt: 'a', size: '1024x1536' }), { status: 400, param: 'size' });
  await assert.rejects(client.images.generate({ prompt: 'a', ...{ solver: 'dpm2m', sampler: 'srds' } }), {
    status: 400,
  });
  await assert.rejects(client.images.generate({ prompt: 'a', background: 'transparent' }), { status: 400 });
  await assert.rejects(client.images.generate({ prompt: 'a', ...{ foo: 1 } }), { status: 400, param: 'foo' });
});

test("web UIs' tools: names, pictures and parameters are as they expect", async () => {
  const expected = await drawn({
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

test('keys: none, wrong, right, by both schemes; what needs none', async () => {
  const locked = await serve({ apiKeys: [KEY, 'another-key'] });
  const ask = (authorization?: string) =>
    fetch(`${locked}/v1/models`, authorization === undefined ? {} : { headers: { authorization } });
  for (const wrong of [undefined, 'Bearer', 'Bearer x', `Bearer ${KEY}x`, `Digest ${KEY}`, 'Basic !!!', KEY]) {
    const answer = await ask(wrong);
    assert.deepEqual([answer.status, answer.headers.get('www-authenticate')], [401, 'Bearer'], wrong);
  }
  const basic = Buffer.from(`user:${KEY}`).toString('base64');
  for (const right of [`Bearer ${KEY}`, 'bearer another-key', `Basic ${basic}`])
    assert.equal((await ask(right)).status, 200);
  assert.equal((await fetch(`${locked}/metrics`)).status, 401);
  for (const path of ['/', '/openapi.json', '/healthz/live']) assert.equal((await fetch(locked + path)).status, 200);
});

test('beyond this machine it listens with keys only, or when told to', () => {
  const parse = (settings: Record<string, unknown>) => parseConfig([{ name: 'the test', settings }]);
  assert.throws(() => parse({ host: '0.0.0.0' }), {
    code: 'INVALID_OPTION',
    message: /API keys to listen on 0\.0\.0\.0/,
  });
  assert.equal(parse({ host: '0.0.0.0', apiKeys: [KEY] }).host, '0.0.0.0');
  assert.equal(parse({ host: '0.0.0.0', allowAnonymous: true }).host, '0.0.0.0');
  assert.throws(() => parse({ port: 70000 }), { message: /for port, found 70000 in the test/ });
  assert.throws(() => parse({ prot: 1 }), { message: /prot/ });
  const sources = [
    { name: 'first', settings: { port: 1 } },
    { name: 'second', settings: { port: 2, queue: 3 } },
  ];
  const { port, queue } = parseConfig(sources);
  assert.deepEqual([port, queue], [1, 3]);
});

test('a page elsewhere cannot ask: by its own name for this machine, or from another origin', async () => {
  const { status, body } = await rawGet(url, 'evil.example');
  assert.equal(status, 403);
  assert.match(body, /unknown_host/);
  assert.equal((await rawGet(url, `localhost:${new URL(url).port}`)).status, 200);
  const plain = await fetch(`${url}/v1/models`, { headers: { origin: 'https://evil.example' } });
  assert.equal(plain.headers.get('access-control-allow-origin'), null);
  const simple = await fetch(`${url}/v1/images/generations`, { method: 'POST', body: '{"prompt":"a"}' });
  assert.equal(simple.status, 415);
  const form = new FormData();
  form.set('prompt', 'a');
  form.set('image', new Blob([new Uint8Array(await encodePng({ width: 1, height: 1, data: new Uint8Array(3) }))]));
  const ask = (origin: string) =>
    fetch(`${url}/v1/images/edits`, { method: 'POST', body: form, headers: { origin } }).then(({ status }) => status);
  assert.equal(await ask('https://evil.example'), 403);
  assert.equal(await ask('null'), 403);
  assert.notEqual(await ask(url), 403);
  const open = await serve({ corsOrigins: ['https://good.example'] });
  const allowed = await fetch(`${open}/v1/models`, { headers: { origin: 'https://good.example' } });
  assert.equal(allowed.headers.get('access-control-allow-origin'), 'https://good.example');
  const page = await fetch(url);
  assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'self'.*frame-ancestors 'none'/);
  assert.equal(page.headers.get('x-content-type-options'), 'nosniff');
});

test('metrics count what was drawn; health says ok', async () => {
  const own = await serve();
  await post(own, '/v1/images/generations', { prompt: 'a', steps: 9, blocks: 3, tolerance: 0 });
  await post(own, '/v1/images/generations', { prompt: 'a', steps: 4, sampler: 'serial' });
  const text = await (await fetch(`${own}/metrics`)).text();
  const value = (name: string) => Number(new RegExp(`^${name.replace(/[{}"]/g, '\\$&')} (.*)$`, 'm').exec(text)?.[1]);
  assert.equal(value('srds_requests_total{route="/v1/images/generations",status="200"}'), 2);
  assert.ok(value('srds_evaluations_total{kind="coarse"}') >= 3);
  assert.ok(value('srds_evaluations_total{kind="fine"}') >= 9);
  assert.equal(value('srds_images_total{sampler="parallel",status="exact"}'), 1);
  assert.equal(value('srds_iterations_count'), 2);
  assert.equal(value('srds_queue_seconds_count'), 2);
  assert.equal(value('srds_first_preview_seconds_count'), 1);
  assert.equal(value('srds_generation_seconds_count'), 2);
  assert.ok(value('srds_batch_rows_count') > 9);
  assert.ok(value('srds_device_busy_seconds_total{device="cpu"}') > 0);
  assert.equal(value('srds_running'), 0);
  assert.deepEqual(await (await fetch(`${own}/healthz/ready`)).json(), { status: 'ok' });
});

test('requests for a model share batches', async () => {
  const own = await serve({ concurrency: 4 });
  const ask = (seed: number) =>
    post(own, '/v1/images/generations', { prompt: 'a', steps: 20, seed, sampler: 'serial' });
  await ask(0);
  await Promise.all([1, 2, 3, 4].map(ask));
  const text = await (await fetch(`${own}/metrics`)).text();
  const value = (name: string) => Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
  assert.equal(value('srds_batch_rows_sum'), 2 * 20 * 5);
  assert.ok(value('srds_batch_rows_count') < 20 * 5 * 0.7, text);
});

test('the OpenAPI document has every route with the schemas that check it', async () => {
  const document = z.object({
    openapi: z.literal('3.1.0'),
    paths: z.record(
      z.string(),
      z.record(z.string(), z.looseObject({ summary: z.string(), requestBody: z.looseObject({}).optional() })),
    ),
  });
  const { paths } = document.parse(await (await fetch(`${url}/openapi.json`)).json());
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  );
  assert.deepEqual(routes.filter((route) => route.includes('/v1/')).sort(), [
    'get /sdapi/v1/options',
    'get /sdapi/v1/progress',
    'get /sdapi/v1/samplers',
    'get /sdapi/v1/sd-models',
    'get /srds/v1/info',
    'get /v1/models',
    'get /v1/models/{model}',
    'post /sdapi/v1/txt2img',
    'post /srds/v1/generate',
    'post /v1/images/edits',
    'post /v1/images/generations',
  ]);
  const text = JSON.stringify(paths['/v1/images/generations']);
  for (const field of ['partial_images', 'output_compression', 'negative_prompt', 'tolerance'])
    assert.ok(text.includes(field));
});

/** A GET with a Host header of one's own, which fetch does not send. */
function rawGet(base: string, host: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    request(`${base}/v1/models`, { headers: { host } }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    })
      .on('error', reject)
      .end();
  });
}
