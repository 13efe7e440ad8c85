import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serve } from '../support/serve.js';
import { assertError, childrenOf, SD15, SD21V, until } from '../support/server.js';

const CLIENT = 'a-key-of-the-test';
const OPERATOR = 'an-operator-of-the-test';

test('operators load and unload models; clients may not, and nobody may without keys of operators', async () => {
  const { url } = await serve({ apiKeys: [CLIENT], adminKeys: [OPERATOR], models: [SD15, SD21V] });
  const ask = async (path: string, key: string | undefined, method = 'POST') => {
    const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
    const response = await fetch(url + path, { method, headers });
    return { status: response.status, body: (await response.json()) as { status?: string } };
  };
  const processes = async () => (await childrenOf(process.pid)).length;
  const before = await processes();
  for (const action of ['load', 'unload']) {
    const path = `/srds/v1/models/sd21v/${action}`;
    for (const key of [undefined, CLIENT, 'something-else']) {
      const { status, body } = await ask(path, key);
      assert.equal(status, 401);
      assertError(body, path);
    }
    assert.equal((await ask(`/srds/v1/models/none/${action}`, OPERATOR)).status, 404);
  }
  assert.deepEqual(await ask('/srds/v1/models/sd21v/load', OPERATOR), { status: 200, body: { status: 'loaded' } });
  assert.equal(await processes(), before + 1);
  assert.deepEqual(await ask('/healthz/ready/sd21v', undefined, 'GET'), { status: 200, body: { status: 'loaded' } });
  assert.deepEqual(await ask('/srds/v1/models/sd21v/unload', OPERATOR), { status: 200, body: { status: 'unloaded' } });
  await until(async () => (await processes()) === before);
  assert.equal((await ask('/v1/models', OPERATOR, 'GET')).status, 200);
  const { url: plain } = await serve();
  assert.equal((await fetch(`${plain}/srds/v1/models/sd15/unload`, { method: 'POST' })).status, 403);
});
