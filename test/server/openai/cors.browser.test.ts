import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { build } from 'vite';
import { launchBrowser } from '../../support/browser.js';
import { ROOT } from '../../support/fixtures.js';
import { serve } from '../../support/serve.js';

const KEY = 'a-key-of-the-test';
const folder = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(folder, { recursive: true }));

/** A page with OpenAI's client, which says what it receives. */
async function bundle(): Promise<string> {
  const entry = join(folder, 'entry.mjs');
  writeFileSync(
    entry,
    `
    import OpenAI from ${JSON.stringify(`${ROOT}node_modules/openai/index.mjs`)};
    globalThis.ask = async (url, key, options) => {
      const openai = new OpenAI({ baseURL: url + '/v1', apiKey: key, dangerouslyAllowBrowser: true, maxRetries: 0 });
      try {
        const names = [];
        for await (const { id } of openai.models.list()) names.push(id);
        const { data, response } = await openai.images.generate({ prompt: 'a', ...options }).withResponse();
        const events = [];
        const stream = await openai.images.generate({ prompt: 'a', stream: true, partial_images: 1, ...options });
        for await (const { type } of stream) events.push(type);
        const png = await (await fetch('data:image/png;base64,' + data.data[0].b64_json)).blob();
        const edited = await openai.images.edit({ image: new File([png], 'a.png', { type: png.type }), prompt: 'a', ...options });
        return { names, events, images: data.data.length + edited.data.length, id: response.headers.get('x-request-id') };
      } catch (error) {
        return { status: error.status, name: error.name, code: error.code, id: error.requestID, retry: error.headers?.get('retry-after') };
      }
    };`,
  );
  const lib = { entry, formats: ['es' as const], fileName: 'bundle' };
  const output = await build({ root: folder, logLevel: 'silent', build: { write: false, lib } });
  const [result] = [output].flat();
  assert.ok('output' in result);
  return result.output[0].code;
}

test("OpenAI's client in a page of an allowed origin generates, streams, edits and reads errors; another origin gets nothing", async () => {
  const html = `<script type="module">${(await bundle()).replaceAll('</script', '<\\/script')}</script>`;
  const pages = createServer((_, response) => response.setHeader('content-type', 'text/html').end(html));
  await new Promise<void>((resolve) => pages.listen(0, '127.0.0.1', resolve));
  const { port } = pages.address() as AddressInfo;
  const browser = await launchBrowser();
  try {
    const { url } = await serve({
      apiKeys: [KEY],
      corsOrigins: [`http://127.0.0.1:${port}`],
      concurrency: 1,
      queue: 0,
    });
    const ask = async (origin: string, key: string, options: object): Promise<Record<string, unknown>> => {
      const page = await browser.newPage();
      await page.goto(origin);
      const call = `globalThis.ask(${JSON.stringify(url)}, ${JSON.stringify(key)}, ${JSON.stringify(options)})`;
      const answer: Record<string, unknown> = await page.evaluate(call);
      await page.close();
      return answer;
    };
    const own = `http://127.0.0.1:${port}`;
    const { id, ...answer } = await ask(own, KEY, { steps: 3, sampler: 'srds' });
    assert.deepEqual(answer, {
      names: ['sd15'],
      events: ['image_generation.partial_image', 'image_generation.completed'],
      images: 2,
    });
    assert.match(String(id), /^[\w-]{8,}$/);
    const { id: refusedId, ...refused } = await ask(own, 'another key', {});
    assert.deepEqual(refused, { status: 401, name: 'Error', code: 'invalid_api_key', retry: null });
    assert.match(String(refusedId), /^[\w-]{8,}$/);
    // A full queue says when to try again.
    const blocker = new AbortController();
    const long = fetch(`${url}/v1/images/generations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
      body: JSON.stringify({ prompt: 'a', steps: 250, n: 10 }),
      signal: blocker.signal,
    }).catch(() => undefined);
    const full = await ask(own, KEY, { steps: 3 });
    assert.deepEqual([full.status, full.code], [429, 'queue_full']);
    assert.match(String(full.retry), /^\d+$/);
    blocker.abort();
    await long;
    const foreign = await ask(`http://localhost:${port}`, KEY, {});
    assert.deepEqual([foreign.status, foreign.name], [undefined, 'Error']);
  } finally {
    await browser.close();
    pages.close();
  }
});
