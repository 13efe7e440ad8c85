import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import sharp from 'sharp';
import { encodePng, type RgbImage } from 'srds/image';
import { libraryImage, pixelsOf } from '../../support/images.js';
import { serve } from '../../support/serve.js';
import { post } from '../../support/server.js';

const { url } = await serve();
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });

test("OpenAI's client receives the library's images, as content and as a URL", async () => {
  const expected = await libraryImage({ prompt: 'a red ball', seed: 7, steps: 5, sampler: 'serial' });
  const wanted = { prompt: 'a red ball', seed: 7, steps: 5, sampler: 'serial' } as unknown as { prompt: string };
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

test('formats and their quality, a size, and random seeds by default', async () => {
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

test('a stream sends the coarse image first, then iterations, then the complete image', async () => {
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
  const expected = await libraryImage({ prompt: 'a red ball', seed: 3, steps: 16, sampler: 'serial' });
  assert.deepEqual((await pixelsOf(images[3])).data, expected.data);
  assert.notDeepEqual((await pixelsOf(images[0])).data, expected.data);
});

test('image to image', async () => {
  const picture: RgbImage = {
    width: 64,
    height: 64,
    data: Uint8Array.from({ length: 3 * 64 * 64 }, (_, i) => i % 251),
  };
  const expected = await libraryImage({
    prompt: 'a',
    seed: 2,
    steps: 8,
    sampler: 'serial',
    init: picture,
    strength: 0.5,
  });
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

test('transparent pixels of a mask, or of the image without one, are repainted', async () => {
  const [width, height] = [64, 64];
  const init: RgbImage = { width, height, data: Uint8Array.from({ length: 3 * width * height }, (_, i) => i % 251) };
  const isFree = (pixel: number) => pixel % width >= 24;
  /** The picture with transparency, and a mask of it with other colours. */
  const file = async (alpha: (pixel: number) => number, colour: (i: number) => number, name: string) => {
    const data = Uint8Array.from({ length: 4 * width * height }, (_, i) =>
      i % 4 === 3 ? alpha(Math.floor(i / 4)) : colour(3 * Math.floor(i / 4) + (i % 4)),
    );
    const png = await sharp(data, { raw: { width, height, channels: 4 } })
      .png()
      .toBuffer();
    return toFile(png, name, { type: 'image/png' });
  };
  const opaque = await toFile(await encodePng(init), 'a.png', { type: 'image/png' });
  const erased = (pixel: number) => (isFree(pixel) ? 100 : 130);
  const mask = await file(erased, () => 0, 'mask.png');
  const picture = await file(erased, (i) => init.data[i], 'b.png');
  const options = { prompt: 'a red ball', seed: 2, steps: 6, strength: 1, sampler: 'serial' } as const;
  const grey = Uint8Array.from({ length: width * height }, (_, pixel) => (isFree(pixel) ? 255 : 0));
  const expected = await libraryImage({ ...options, init, mask: { width, height, data: grey } });
  const edited = async (files: Pick<OpenAI.ImageEditParamsNonStreaming, 'image' | 'mask'>) => {
    const { data } = await openai.images.edit({ ...files, ...(options as { prompt: string }) });
    return (await pixelsOf(data![0].b64_json!)).data;
  };
  assert.deepEqual(await edited({ image: opaque, mask }), expected.data);
  assert.deepEqual(await edited({ image: picture }), expected.data);
  // A mask takes the place of the image's transparency.
  const other = await file(
    (pixel) => (pixel < 32 * width ? 0 : 255),
    () => 0,
    'mask.png',
  );
  assert.deepEqual(await edited({ image: picture, mask: other }), await edited({ image: opaque, mask: other }));
  assert.notDeepEqual(await edited({ image: opaque, mask: other }), expected.data);
  assert.deepEqual(await edited({ image: opaque }), (await libraryImage({ ...options, init })).data);
  const refused = { status: 400, code: 'invalid_image', param: 'mask' };
  await assert.rejects(edited({ image: opaque, mask: opaque }), {
    ...refused,
    message: /transparent pixels.*found none/,
  });
  const text = await toFile(Buffer.from('no image'), 'mask.png');
  await assert.rejects(edited({ image: opaque, mask: text }), refused);
  const cut = await toFile(Buffer.from(await mask.arrayBuffer()).subarray(0, 90), 'mask.png');
  await assert.rejects(edited({ image: opaque, mask: cut }), refused);
});

test('options that had no effect cause warnings; seeds beyond 2^53 are text in requests and answers', async () => {
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
