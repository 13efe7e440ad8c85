import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { z } from 'zod';
import { serve } from '../support/serve.js';
import { post } from '../support/server.js';

const { url } = await serve();

test('all events are streamed; the coarse image arrives before the first iteration ends', async () => {
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

const PNG = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#a03020' } })
  .png()
  .toBuffer();
/** Transparent on the left half, which is repainted. */
const MASK = await sharp({ create: { width: 64, height: 64, channels: 4, background: '#000000' } })
  .composite([
    {
      input: { create: { width: 32, height: 64, channels: 4, background: '#000000' } },
      left: 0,
      top: 0,
      blend: 'dest-out',
    },
  ])
  .png()
  .toBuffer();

interface Finished {
  readonly index: number;
  readonly seed: number;
  readonly image: string;
}

/** The events of a request by their names. */
async function eventsOf(body: object): Promise<{ readonly type: string; readonly content: unknown }[]> {
  const response = await fetch(`${url}/srds/v1/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return [...(await response.text()).matchAll(/event: (\w+)\ndata: (.*)\n/g)].map(([, type, data]) => ({
    type,
    content: JSON.parse(data) as unknown,
  }));
}

const finishedIn = (events: Awaited<ReturnType<typeof eventsOf>>) =>
  events.filter(({ type }) => type === 'image').map(({ content }) => content as Finished);

test('the images of a request are streamed one by one, as the images API answers them; the plan comes first', async () => {
  const request = { prompt: 'a red ball', steps: 6, sampler: 'serial', seed: 5, n: 3 };
  const events = await eventsOf(request);
  const plan = events.find(({ type }) => type === 'plan')?.content;
  const nothing = { reason: null, seconds: null, serialSeconds: null };
  assert.deepEqual(plan, { sampler: 'serial', serialEvaluations: 6, ...nothing });
  assert.ok(events.findIndex(({ type }) => type === 'plan') < events.findIndex(({ type }) => type === 'batch'));
  const evaluated = events
    .filter(({ type }) => type === 'batch')
    .flatMap(({ content }) => (content as { evaluations: number[][] }).evaluations.map(([, , , image]) => image));
  assert.deepEqual(
    evaluated.sort(),
    [0, 1, 2].flatMap((image) => Array<number>(6).fill(image)),
  );
  const { body } = await post(url, '/v1/images/generations', request);
  const { data } = body as { data: { b64_json: string; seed: number }[] };
  assert.deepEqual(
    finishedIn(events).map(({ index, seed, image }) => [index, seed, image]),
    data.map(({ seed, b64_json }, index) => [index, seed, b64_json]),
  );
  assert.equal(events.at(-1)?.type, 'done');
});

test('an initial image and a mask give what the images API gives for the same files', async () => {
  const options = { prompt: 'a red ball', steps: '4', seed: '3', strength: '0.6', sampler: 'serial' };
  const form = new FormData();
  for (const [name, value] of Object.entries(options)) form.set(name, value);
  form.set('image', new Blob([new Uint8Array(PNG)], { type: 'image/png' }), 'a.png');
  form.set('mask', new Blob([new Uint8Array(MASK)], { type: 'image/png' }), 'mask.png');
  const answer = await fetch(`${url}/v1/images/edits`, { method: 'POST', body: form });
  const { data } = (await answer.json()) as { data: { b64_json: string }[] };
  const streamed = finishedIn(
    await eventsOf({
      ...options,
      steps: 4,
      strength: 0.6,
      image: PNG.toString('base64'),
      mask: MASK.toString('base64'),
    }),
  );
  assert.deepEqual(
    streamed.map(({ image }) => image),
    data.map(({ b64_json }) => b64_json),
  );
});

test('files that are not base64, no images, or a mask alone are refused with the name of the field', async () => {
  for (const [fields, param] of [
    [{ image: 'no base64!' }, 'image'],
    [{ image: Buffer.from('no image').toString('base64') }, 'image'],
    [{ image: PNG.toString('base64'), mask: Buffer.from('no mask').toString('base64') }, 'mask'],
    [{ mask: MASK.toString('base64') }, 'mask'],
  ] as const) {
    const { status, body } = await post(url, '/srds/v1/generate', { prompt: 'a', steps: 2, ...fields });
    assert.deepEqual([status, (body as { error: { param: string } }).error.param], [400, param]);
  }
});
