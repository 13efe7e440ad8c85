import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import { encodePng } from 'srds/image';
import { serve } from '../support/serve.js';

const { url } = await serve();

test('a page of another site is refused, by a name of its own for this machine or by its origin', async () => {
  const { status, body } = await rawGet(url, 'evil.example');
  assert.equal(status, 403);
  assert.match(body, /unknown_host/);
  assert.equal((await rawGet(url, `localhost:${new URL(url).port}`)).status, 200);
  const plain = await fetch(`${url}/v1/models`, { headers: { origin: 'https://evil.example' } });
  assert.equal(plain.headers.get('access-control-allow-origin'), null);
  const simple = await fetch(`${url}/v1/images/generations`, { method: 'POST', body: '{"prompt":"a"}' });
  assert.equal(simple.status, 415);
  const form = new FormData();
  form.set('prompt', 'a');
  form.set('image', new Blob([new Uint8Array(await encodePng({ width: 1, height: 1, data: new Uint8Array(3) }))]));
  const ask = (origin: string) =>
    fetch(`${url}/v1/images/edits`, { method: 'POST', body: form, headers: { origin } }).then(({ status }) => status);
  assert.equal(await ask('https://evil.example'), 403);
  assert.equal(await ask('null'), 403);
  assert.notEqual(await ask(url), 403);
  const { url: open } = await serve({ corsOrigins: ['https://good.example'] });
  const allowed = await fetch(`${open}/v1/models`, { headers: { origin: 'https://good.example' } });
  assert.equal(allowed.headers.get('access-control-allow-origin'), 'https://good.example');
  const page = await fetch(url);
  assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'self'.*frame-ancestors 'none'/);
  assert.equal(page.headers.get('x-content-type-options'), 'nosniff');
});

/** A GET with a given Host header, which fetch does not send. */
function rawGet(base: string, host: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    request(`${base}/v1/models`, { headers: { host } }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    })
      .on('error', reject)
      .end();
  });
}
