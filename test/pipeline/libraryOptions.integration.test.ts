import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pipeline, type GenerateOptions } from 'srds';
import type { OpenOptions } from 'srds/pipeline';
import { fixture } from '../support/fixtures.js';
import { sharedPipeline } from '../support/pipelines.js';

const MODEL = fixture('models/sd15');

/** Options as a program without types may give them. */
const untyped = (options: unknown) => options as GenerateOptions;

test('options that generate does not know are refused by name, and values of another kind too', async () => {
  const pipeline = await sharedPipeline(MODEL);
  const prompt = 'a red ball';
  for (const [options, message] of [
    [{ prompt, step: 5 }, /options among .*steps.*, found "step" \(steps\?\); remove or correct it/],
    [{ prompt, signal: 'stop' }, /an AbortSignal for signal, found string/],
    [{ prompt, negative_prompt: 'b' }, /options among .*negativePrompt.*, found "negative_prompt"/],
    [{ prompt, size: '64x64' }, /width and height, found the option size; .*\{ width: 512, height: 512 \}/],
    [{ prompt, size: { width: 64, height: 64 } }, /width and height, found the option size/],
    [{ prompt, width: '64' }, /a number for width, found a string/],
    [{ prompt, seed: 2 ** 60 }, /for seed .*; give it as a bigint/],
    [{ steps: 5 }, /for prompt .*found undefined/],
    ['a red ball', /an object of options, found "a red ball"/],
    [undefined, /an object of options, found undefined/],
    [null, /an object of options, found null/],
    [{ prompt, init: 'photo.jpg' }, /initial image of \{ width, height, data \}.* found something else; use readImage/],
    [{ prompt, init: { width: 2, height: 2, data: new Uint8Array(4) } }, /found 4 values for 2x2/],
    [{ prompt, noise: new Float32Array(4) }, /initial noise of shape \[1, 4, 8, 8\], found something else/],
  ] as const) {
    assert.throws(() => pipeline.generate(untyped(options)), { code: 'INVALID_OPTION', message });
  }
});

test('a pipeline opens on devices that are named in text, and refuses options that it does not know', async () => {
  const pipeline = await Pipeline.open(MODEL, { devices: 'cpu' });
  assert.equal(pipeline.engine.device, 'cpu');
  await pipeline.close();
  for (const [options, message] of [
    [{ devices: 'gpu' }, /devices such as cpu, cuda, .* found gpu/],
    [{ devices: { kind: 'cpu', index: 0 } }, /devices as text or as a list of objects, found .*array/],
    [{ devices: ['cpu'] }, /devices as text or as a list of objects, found 0/],
    [{ devices: [{ kind: 'cuda', index: '0' }] }, /devices as text or as a list of objects, found 0/],
    [{ devices: [{ kind: 'oip', url: 'host:8000', model: 'unet' }] }, /devices as text .*, found 0/],
    [{ endpoints: 'token' }, /an object of options, found "token"/],
    [{ endpoints: { tokens: 'a' } }, /options among token, headers, ca, .*, found "tokens"/],
    [{ endpoints: { graph: 'unet' } }, /options among token, .*, found "graph"/],
    [{ endpoints: { token: 'a b' } }, /visible ASCII characters for token .*found another value/],
    [{ endpoints: { headers: ['x-team: a'] } }, /an object of names and values of HTTP headers for headers/],
    [{ endpoints: { headers: { 'x-team': 'a\nb' } } }, /an object of names and values of HTTP headers for headers/],
    [{ endpoints: { ca: 'ca.pem' } }, /certificates in PEM for ca .*found another value/],
    [{ endpoints: { inFlight: 0 } }, /a whole number from 1 to 256 for inFlight .*found 0/],
    [{ endpoints: { batching: 'both' } }, /one of auto, explicit, single for batching .*found "both"/],
    [{ device: 'cpu' }, /options among .*devices.*, found "device"/],
    [{ precision: 'half' }, /one of auto, float32, float16 for precision .*found "half"/],
    [{ threads: 'all' }, /a whole number .* for threads .*found "all"/],
  ] as const) {
    await assert.rejects(Pipeline.open(MODEL, options as OpenOptions), { code: 'INVALID_OPTION', message });
  }
});

test('a model is a path or a folder that was read', async () => {
  for (const model of [null, 3, { model: MODEL }, []]) {
    const message = /the path of a model folder or a folder that was read, found something else/;
    await assert.rejects(Pipeline.open(model as unknown as string), { code: 'INVALID_OPTION', message });
  }
});

test('a closed pipeline says so', async () => {
  const pipeline = await Pipeline.open(MODEL);
  await pipeline.close();
  const expected = { code: 'INVALID_OPTION', message: /an open pipeline, found one that was closed; open another/ };
  assert.throws(() => pipeline.generate({ prompt: 'a red ball' }), expected);
  await assert.rejects(pipeline.machine({ prompt: 'a red ball' }), expected);
});
