import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { serve } from '../support/serve.js';
import { post } from '../support/server.js';

test('requests for a model share batches', async () => {
  const { url: own } = await serve({ concurrency: 4 });
  const ask = (seed: number) =>
    post(own, '/v1/images/generations', { prompt: 'a', steps: 20, seed, sampler: 'serial' });
  await ask(0);
  await Promise.all([1, 2, 3, 4].map(ask));
  const text = await (await fetch(`${own}/metrics`)).text();
  const value = (name: string) => Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
  assert.equal(value('srds_batch_rows_sum'), 2 * 20 * 5);
  assert.ok(value('srds_batch_rows_count') < 20 * 5 * 0.7, text);
});

test('an answer says that load may have changed the image, where it did', async () => {
  const { url: own } = await serve({ concurrency: 4 });
  const answer = z.object({ warnings: z.array(z.string()).optional() });
  const ask = async (seed: number) => {
    const request = { prompt: 'a', steps: 60, seed, sampler: 'srds' };
    return answer.parse((await post(own, '/v1/images/generations', request)).body).warnings ?? [];
  };
  assert.deepEqual(await ask(0), []);
  const together = (await Promise.all([1, 2, 3, 4].map(ask))).flat();
  assert.ok(together.some((warning) => /other runs filled the devices.*the same seed/.test(warning)));
});
