import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { serve } from '../support/serve.js';

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
