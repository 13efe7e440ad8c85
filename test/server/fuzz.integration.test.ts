import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import sharp from 'sharp';
import { post, startTiny } from '../support/server.js';

const SEED = 20241210;

const FORM = '/v1/images/edits';
const BOUNDARY = 'boundary';
const PNG = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#a03020' } })
  .png()
  .toBuffer();

const ROUTES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  '/v1/images/generations': {
    prompt: 'a red ball',
    n: 1,
    size: '32x32',
    output_format: 'png',
    output_compression: 90,
    response_format: 'b64_json',
    stream: false,
    partial_images: 0,
    user: 'me',
    seed: 1,
    steps: 2,
    guidance: 2,
    negative_prompt: 'b',
    sampler: 'srds',
    tolerance: 0.5,
    blocks: [1, 1],
    priority: 0,
    deadline: 20,
  },
  '/sdapi/v1/txt2img': {
    prompt: 'a red ball',
    negative_prompt: 'b',
    seed: -1,
    steps: 2,
    cfg_scale: 2,
    width: 32,
    height: 32,
    batch_size: 1,
    n_iter: 1,
    sampler_name: 'DDIM',
    eta: 0,
    override_settings: { sd_model_checkpoint: 'sd15' },
  },
  '/sdapi/v1/img2img': {
    prompt: 'a red ball',
    init_images: [Buffer.from(PNG).toString('base64')],
    mask: Buffer.from(PNG).toString('base64'),
    inpainting_mask_invert: 1,
    denoising_strength: 0.6,
    sampler_name: 'Euler a',
    scheduler: 'Karras',
    enable_hr: false,
    seed: 1,
    steps: 2,
    width: 32,
    height: 32,
    override_settings: { sd_vae: 'Automatic' },
  },
  '/sdapi/v1/png-info': { image: Buffer.from(PNG).toString('base64') },
  '/sdapi/v1/options': { sd_model_checkpoint: 'sd15' },
  [FORM]: { prompt: 'a red ball', image: PNG, n: 1, steps: 2, strength: 0.5, size: '32x32', stream: false, seed: 3 },
  '/srds/v1/generate': {
    prompt: 'a',
    steps: 2,
    sampler: 'serial',
    size: '32x32',
    solver: 'euler',
    window: 2,
    n: 1,
    image: PNG.toString('base64'),
    strength: 0.5,
  },
};

const odd = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    '',
    ' ',
    0,
    -0,
    -1,
    1,
    1.5,
    1e308,
    2 ** 53,
    [],
    {},
    [[]],
    true,
    'NaN',
    '\u0000',
    '\ud800',
  ),
  fc.constantFrom(
    '__proto__',
    'constructor',
    '../..',
    '1'.repeat(5000),
    '32x0',
    '0x32',
    '24x40',
    'auto',
    'picard',
    'heun',
  ),
  fc.integer(),
  fc.double(),
  fc.string({ unit: 'binary' }),
  fc.jsonValue({ maxDepth: 2 }),
);

/** The APIs by their names: the starts of their paths. */
const APIS = ['/v1/', '/sdapi/', '/srds/'];

/** A request of an API with changed fields and bytes. */
const mutationOf = (api: string) =>
  fc.constantFrom(...Object.keys(ROUTES).filter((route) => route.startsWith(api))).chain((route) => {
    const names = Object.keys(ROUTES[route]);
    const fields = fc.array(fc.tuple(fc.oneof(fc.constantFrom(...names), fc.string()), fc.option(odd)), {
      maxLength: 2,
    });
    const bytes = fc.array(fc.tuple(fc.nat(), fc.nat(3), fc.string({ minLength: 1, maxLength: 3 })), { maxLength: 2 });
    return fc.record({ route: fc.constant(route), fields, bytes });
  });

function contentOf(
  route: string,
  fields: readonly (readonly [string, unknown])[],
  bytes: readonly (readonly [number, number, string])[],
) {
  const request: Record<string, unknown> = { ...ROUTES[route] };
  for (const [name, value] of fields) {
    if (value === null && name in request) Reflect.deleteProperty(request, name);
    else Object.defineProperty(request, name, { value, enumerable: true, configurable: true });
  }
  // A character is a byte.
  let text = route === FORM ? formOf(request) : Buffer.from(JSON.stringify(request)).toString('latin1');
  for (const [at, length, replacement] of bytes) {
    const start = at % (text.length + 1);
    text = text.slice(0, start) + replacement + text.slice(start + length);
  }
  return Buffer.from(text, 'latin1');
}

function formOf(fields: Readonly<Record<string, unknown>>): string {
  const parts = Object.entries(fields).map(([name, value]) => {
    const isFile = value instanceof Uint8Array;
    const head = `Content-Disposition: form-data; name="${name}"${isFile ? '; filename="a.png"' : ''}`;
    const content = isFile ? value : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
    return `--${BOUNDARY}\r\n${head}\r\n\r\n${Buffer.from(content).toString('latin1')}\r\n`;
  });
  return `${parts.join('')}--${BOUNDARY}--\r\n`;
}

test('a thousand malformed requests of each API cause no server error, and the server continues', async () => {
  const server = await startTiny({ maxSteps: 4, maxPixels: 32 * 32, maxImages: 2, concurrency: 4, deadline: 30 });
  const statuses = new Map<string, number>();
  try {
    const cases = APIS.flatMap((api) => fc.sample(mutationOf(api), { numRuns: 1000, seed: SEED }));
    const ask = async ({ route, fields, bytes }: (typeof cases)[number]) => {
      const content = contentOf(route, fields, bytes);
      const response = await fetch(server.url + route, {
        method: 'POST',
        headers: { 'content-type': route === FORM ? `multipart/form-data; boundary=${BOUNDARY}` : 'application/json' },
        body: content,
      });
      const text = await response.text();
      const { status } = response;
      const kind = `${status} ${route === FORM ? 'form' : 'JSON'}`;
      statuses.set(kind, (statuses.get(kind) ?? 0) + 1);
      assert.ok(status < 500, `${status} for ${content.toString()}: ${text}`);
      if (status !== 200) assert.match(text, /^\{"error":/, content.toString());
      // Pixels are decoded when a stream has begun; files that are damaged then end it.
      else if (!text.startsWith('{') && text !== 'null')
        assert.match(
          text,
          /event: (done|image_(generation|edit)\.completed)\n|"type":"invalid_request_error"/,
          content.toString(),
        );
    };
    for (let k = 0; k < cases.length; k += 4) await Promise.all(cases.slice(k, k + 4).map(ask));
    // Both valid and invalid requests occur often.
    for (const kind of ['200 JSON', '400 JSON', '200 form', '400 form']) {
      assert.ok((statuses.get(kind) ?? 0) > 40, JSON.stringify([...statuses]));
    }
    const { status } = await post(server.url, '/v1/images/generations', { prompt: 'a', steps: 1, size: '32x32' });
    assert.equal(status, 200);
  } finally {
    await server.close();
  }
});

test('names that every object has are fields and values like others', async () => {
  const server = await startTiny({ maxSteps: 2, maxPixels: 32 * 32 });
  try {
    for (const name of [...Object.getOwnPropertyNames(Object.prototype), 'toJSON', 'then']) {
      const requests: [string, object][] = [
        ...Object.keys(ROUTES)
          .filter((route) => route !== FORM)
          .map((route): [string, object] => [route, Object.fromEntries([...Object.entries(ROUTES[route]), [name, 3]])]),
        ['/sdapi/v1/txt2img', { prompt: 'a', steps: 1, width: 32, height: 32, sampler_name: name }],
        ['/sdapi/v1/txt2img', { prompt: 'a', steps: 1, width: 32, height: 32, scheduler: name }],
        ['/v1/images/generations', { prompt: 'a', steps: 1, size: '32x32', solver: name }],
        ['/v1/images/generations', { prompt: 'a', steps: 1, size: '32x32', model: name }],
      ];
      for (const [route, body] of requests) {
        const headers = { 'content-type': 'application/json' };
        const { status } = await fetch(server.url + route, { method: 'POST', headers, body: JSON.stringify(body) });
        assert.ok(status < 500, `${status} of ${route} for ${JSON.stringify(body)}`);
      }
    }
  } finally {
    await server.close();
  }
});
