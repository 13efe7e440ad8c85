import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { encodePng } from 'srds/image';
import { libraryImage, pixelsOf } from '../../support/images.js';
import { serve } from '../../support/serve.js';
import { post } from '../../support/server.js';

const { url } = await serve();
const GENERATE = '/v1/images/generations';
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });

interface Body {
  readonly data: readonly { readonly b64_json?: string; readonly url?: string; readonly seed: number }[];
  readonly size: string;
  readonly warnings?: readonly string[];
}

async function generate(fields: object, path = GENERATE): Promise<Body> {
  const { status, body } = await post(url, path, { prompt: 'a red ball', steps: 2, ...fields });
  assert.equal(status, 200, JSON.stringify(body));
  return body as Body;
}

async function refused(fields: object, base = url): Promise<{ code: string; param: string; message: string }> {
  const { status, body } = await post(base, GENERATE, { prompt: 'a', steps: 2, ...fields });
  assert.equal(status, 400);
  return (body as { error: { code: string; param: string; message: string } }).error;
}

test('a size that cannot be drawn gives the image of the nearest one and a warning; a strict request is refused', async () => {
  const cases = { '1024x1024': [128, 128], '1792x1024': [160, 96], '100x64': [96, 64] } as const;
  for (const [size, [width, height]] of Object.entries(cases)) {
    const { data, warnings, size: drawn } = await generate({ size, seed: 3 });
    const expected = await libraryImage({ prompt: 'a red ball', steps: 2, seed: 3, sampler: 'serial', width, height });
    assert.deepEqual((await pixelsOf(data[0].b64_json!)).data, expected.data);
    assert.equal(drawn, `${width}x${height}`);
    assert.match(warnings!.join(), new RegExp(`--max-pixels.*: ${drawn} in place of ${size}`));
    const { code, param, message } = await refused({ size, strict: true });
    assert.deepEqual([code, param], ['invalid_size', 'size']);
    assert.match(message, /64x64.*--max-pixels/);
  }
  assert.equal((await generate({ size: '96x64', strict: true })).warnings, undefined);
});

test('what a server cannot do is a warning, unless the request or the server is strict', async () => {
  const vain = {
    quality: 'hd',
    style: 'vivid',
    background: 'transparent',
    moderation: 'low',
    colour: 'red',
    'ü"': [1],
  };
  const { warnings } = await generate(vain);
  assert.equal(warnings!.length, 6);
  for (const [name, value] of Object.entries(vain)) {
    assert.ok(
      warnings!.some((warning) => warning.includes(JSON.stringify(name).slice(1, -1))),
      name,
    );
    assert.equal((await refused({ [name]: value, strict: true })).param, name);
  }
  assert.equal(
    (await generate({ quality: 'auto', background: 'opaque', user: 'me', style: null })).warnings,
    undefined,
  );
  const many = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`${'x'.repeat(1000)}${i}`, 1]));
  const named = (await generate(many)).warnings!;
  assert.ok(named.length === 11 && named.join().length < 2000 && named.at(-1)!.startsWith('40 more'));
  // An object that JavaScript takes for a prototype gives no defaults.
  const { body } = await post(url, GENERATE, '{"prompt": "a", "steps": 2, "__proto__": {"n": 3}}');
  assert.equal((body as Body).data.length, 1);
  const { url: strict } = await serve({ strict: true });
  assert.equal((await refused({ quality: 'hd' }, strict)).param, 'quality');
  const { status } = await post(strict, GENERATE, { prompt: 'a', steps: 2, quality: 'hd', strict: false });
  assert.equal(status, 200);
});

test('DALL-E answers by URL by default, other names with the content', async () => {
  for (const model of ['dall-e-2', 'dall-e-3']) {
    const { data } = await openai.images.generate({ model, prompt: 'a', ...{ steps: 2 } });
    assert.equal(data![0].b64_json, undefined);
    assert.equal((await fetch(data![0].url!)).headers.get('content-type'), 'image/png');
    const content = await openai.images.generate({ model, prompt: 'a', response_format: 'b64_json', ...{ steps: 2 } });
    assert.ok(content.data![0].b64_json);
  }
  assert.ok((await generate({ model: 'gpt-image-1' })).data[0].b64_json);
  assert.ok((await generate({})).data[0].b64_json);
});

test('of several images in an edit the first is used', async () => {
  const image = async (grey: number) =>
    toFile(await encodePng({ width: 64, height: 64, data: new Uint8Array(3 * 64 * 64).fill(grey) }), `${grey}.png`, {
      type: 'image/png',
    });
  const edit = async (images: OpenAI.ImageEditParamsNonStreaming['image']) => {
    const extra = { steps: 4, seed: 2, strength: 0.5 } as object;
    const answer = await openai.images.edit({ image: images, prompt: 'a', input_fidelity: 'high', ...extra });
    return { png: answer.data![0].b64_json!, warnings: (answer as unknown as Body).warnings ?? [] };
  };
  const one = await edit(await image(40));
  const several = await edit([await image(40), await image(200), await image(90)]);
  assert.equal(several.png, one.png);
  assert.deepEqual(one.warnings, ['this server does nothing with input_fidelity high']);
  assert.match(several.warnings.join(), /of 3 images, the first is used/);
});

test('addresses without the version, and with slashes at the end or twice', async () => {
  const { data } = await generate({ seed: 1 });
  for (const path of ['/images/generations', `${GENERATE}/`, '//v1//images/generations']) {
    assert.deepEqual((await generate({ seed: 1 }, path)).data, data);
  }
  for (const path of ['/models', '/v1/models/', '/models/sd15', '/healthz/ready/']) {
    assert.equal((await fetch(url + path)).status, 200, path);
  }
});

test('the seed -1 is a random one, which the answer reports', async () => {
  const seeds = [(await generate({ seed: -1 })).data[0].seed, (await generate({ seed: '-1' })).data[0].seed];
  assert.notEqual(seeds[0], seeds[1]);
  for (const seed of seeds) assert.ok(seed >= 0 && seed < 2 ** 32);
  const { data } = await generate({ seed: seeds[0], sampler: 'serial' });
  const expected = await libraryImage({ prompt: 'a red ball', steps: 2, seed: seeds[0], sampler: 'serial' });
  assert.deepEqual((await pixelsOf(data[0].b64_json!)).data, expected.data);
});
