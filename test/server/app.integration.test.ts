import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serve } from '../support/serve.js';

const { url } = await serve();

test('a request id is returned; an invalid one is replaced', async () => {
  const idFor = async (headers: Record<string, string>, path = '/healthz/live') =>
    (await fetch(url + path, { headers })).headers.get('x-request-id') ?? '';
  assert.equal(await idFor({ 'x-request-id': 'a-b_1' }), 'a-b_1');
  assert.equal(await idFor({ 'x-request-id': 'a-b_1' }, '/nothing'), 'a-b_1');
  for (const given of ['a b', 'x'.repeat(65)]) assert.match(await idFor({ 'x-request-id': given }), /^[\da-f-]{36}$/);
  assert.notEqual(await idFor({}), await idFor({}));
});

test('a 405 lists the methods of the route', async () => {
  for (const [path, method, allow] of [
    ['/v1/images/generations', 'GET', 'POST'],
    ['/v1/models/sd15', 'DELETE', 'GET, HEAD'],
  ]) {
    const { status, headers } = await fetch(url + path, { method });
    assert.deepEqual([status, headers.get('allow')], [405, allow]);
  }
});
