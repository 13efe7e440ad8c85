import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { serve } from '../support/serve.js';

const { url } = await serve();

/** An answer as it was sent: fetch would decompress it. */
function rawGet(path: string, headers: Record<string, string>) {
  return new Promise<{ status: number; headers: Record<string, unknown>; bytes: Buffer }>((resolve, reject) => {
    request(url + path, { headers }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes: Buffer.concat(parts) }),
      );
    })
      .on('error', reject)
      .end();
  });
}

const identity = (bytes: Buffer) => bytes;
const DECODERS: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  br: brotliDecompressSync,
  gzip: gunzipSync,
  none: identity,
};

test('the page, its files and the OpenAPI document are sent compressed, as the client wishes', async () => {
  const script = /src="(\/assets\/[^"]+\.js)"/.exec(await (await fetch(url)).text())?.[1] ?? '';
  for (const path of ['/', script, '/openapi.json']) {
    const plain = await rawGet(path, {});
    assert.equal(plain.headers['content-encoding'], undefined);
    for (const [accept, expected] of [
      ['br, gzip', 'br'],
      ['gzip, deflate', 'gzip'],
      ['gzip;q=0.5, br;q=0', 'gzip'],
      ['*', 'br'],
      ['identity', 'none'],
    ] as const) {
      const { headers, bytes } = await rawGet(path, { 'accept-encoding': accept });
      assert.equal(headers['content-encoding'] ?? 'none', expected, `${path} ${accept}`);
      assert.equal(headers.vary, 'Accept-Encoding');
      assert.deepEqual(DECODERS[expected](bytes), plain.bytes);
      if (expected !== 'none') assert.ok(bytes.length < plain.bytes.length);
    }
  }
});

test('a client that has the content gets 304 without it', async () => {
  for (const path of ['/', '/openapi.json']) {
    const { headers } = await rawGet(path, { 'accept-encoding': 'br' });
    const again = await rawGet(path, { 'accept-encoding': 'gzip', 'if-none-match': String(headers.etag) });
    assert.deepEqual([again.status, again.bytes.length], [304, 0]);
    assert.equal((await rawGet(path, { 'if-none-match': '"other"' })).status, 200);
  }
});
