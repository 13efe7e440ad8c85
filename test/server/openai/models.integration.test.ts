import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { serve } from '../../support/serve.js';
import { SD15, SD21V } from '../../support/server.js';

test("models, and errors in the form of OpenAI's API", async () => {
  const { url: two } = await serve({ models: [SD15, SD21V] });
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
  for (const size of ['64x0', '0x0'] as const) {
    await assert.rejects(client.images.generate({ prompt: 'a', size }), { status: 400, param: 'size' });
  }
  await assert.rejects(client.images.generate({ prompt: 'a', ...{ solver: 'dpm2m', sampler: 'srds' } }), {
    status: 400,
  });
});
