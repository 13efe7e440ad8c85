import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serve } from '../support/serve.js';

const KEY = 'a-key-of-the-test';

test('missing, wrong and valid keys, by both schemes and under the names of other providers; routes that need no key', async () => {
  const { url: locked } = await serve({ apiKeys: [KEY, 'another-key'] });
  const ask = (authorization?: string) =>
    fetch(`${locked}/v1/models`, authorization === undefined ? {} : { headers: { authorization } });
  for (const wrong of [undefined, 'Bearer', 'Bearer x', `Bearer ${KEY}x`, `Digest ${KEY}`, 'Basic !!!', KEY]) {
    const answer = await ask(wrong);
    assert.deepEqual([answer.status, answer.headers.get('www-authenticate')], [401, 'Bearer'], wrong);
  }
  const basic = Buffer.from(`user:${KEY}`).toString('base64');
  for (const right of [`Bearer ${KEY}`, 'bearer another-key', `Basic ${basic}`])
    assert.equal((await ask(right)).status, 200);
  for (const header of ['x-api-key', 'api-key']) {
    const status = async (key: string) => (await fetch(`${locked}/v1/models`, { headers: { [header]: key } })).status;
    assert.deepEqual([await status(KEY), await status(`${KEY}x`), await status('')], [200, 401, 401], header);
  }
  assert.equal((await fetch(`${locked}/metrics`)).status, 401);
  for (const path of ['/', '/openapi.json', '/healthz/live']) assert.equal((await fetch(locked + path)).status, 200);
});
