import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createLog, parseConfig, startServer } from 'srds/server';
import { changeModel } from '../support/onnx.js';
import { serve } from '../support/serve.js';
import { assertError, metric, post, SD15, SD21V, until } from '../support/server.js';

const GENERATE = '/v1/images/generations';
const { url } = await serve({ maxBody: 1 });
const { port } = new URL(url);

/** Asserts that the server serves the next request. */
async function works(base = url): Promise<void> {
  const { status, body } = await post(base, GENERATE, { prompt: 'a', steps: 1 });
  assert.equal(status, 200, JSON.stringify(body));
}

/** Writes bytes to a connection and reads the answer until the connection ends. */
async function raw(bytes: string, { end = true } = {}): Promise<string> {
  const socket = connect(Number(port), '127.0.0.1');
  let answer = '';
  socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
  socket.on('error', () => undefined);
  if (end) socket.end(bytes);
  else socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  return answer;
}

const head = (length: number | string, more = '') =>
  `POST ${GENERATE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n${more}\r\n`;

/** A client that sends header lines without end. It starts here because the server's time limit is long. */
const slow = drip();

function drip(): Promise<string> {
  const socket = connect(Number(port), '127.0.0.1');
  let answer = '';
  socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
  socket.on('error', () => undefined);
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n');
  const timer = setInterval(() => socket.write('X: y\r\n'), 500);
  return new Promise((resolve) =>
    socket.once('close', () => {
      clearInterval(timer);
      resolve(answer);
    }),
  );
}

test('invalid content is a 400 in the form of the API, and the next request works', async () => {
  const cases: [unknown, RegExp][] = [
    ['', /expected JSON/],
    ['{"prompt": "a"', /expected JSON/],
    ['{"prompt": NaN}', /expected JSON/],
    ['[]', /^expected an object for the request, found \[\]; see /],
    ['null', /^expected an object for the request, found null; see /],
    ['"a"', /^expected an object for the request, found "a"; see /],
    [{}, /^expected a string for prompt, found none; see \/openapi\.json$/],
    [{ prompt: 1 }, /prompt/],
    [{ prompt: 'a'.repeat(40_000) }, /prompt/],
    ['{"prompt": "a", "steps": 1e999}', /steps/],
    [{ prompt: 'a', steps: 1.5 }, /steps/],
    [{ prompt: 'a', steps: 1e6 }, /^expected at most 250 for steps, found 1000000; see /],
    [{ prompt: 'a', steps: '25' }, /steps/],
    [{ prompt: 'a', n: 0 }, /^expected at least 1 for n, found 0; see /],
    [{ prompt: 'a', n: 1e300 }, /^expected .* for n, found 1e\+300; see /],
    [{ prompt: 'a', seed: 'abc' }, /^expected a whole number from 0 to .*, or -1 for seed, found "abc"; see /],
    [{ prompt: 'a', seed: 1.5 }, /^expected a whole number from 0 to .*, or -1 for seed, found 1\.5; see /],
    [
      { prompt: 'a', seed: '9'.repeat(20) },
      /^expected a whole number from 0 to .*, or -1 for seed, found "9{20}"; see /,
    ],
    [{ prompt: 'a', size: 'big' }, /^expected auto or WIDTHxHEIGHT for size, found "big"; see /],
    [{ prompt: 'a', blocks: '1,2' }, /^expected a number of blocks, or a list .* for blocks, found "1,2"; see /],
    [{ prompt: 'a', size: '0x64' }, /expected a size in pixels, found 0x64; .*64x64.*--max-pixels/],
    [{ prompt: 'a', size: '9999x99999', strict: true }, /met in full.*64x64.*--max-pixels/],
    [{ prompt: 'a', size: '../../etc' }, /size/],
    [{ prompt: 'a', seed: -2 }, /seed/],
    [{ prompt: 'a', seed: 2 ** 65 }, /seed/],
    [{ prompt: 'a', guidance: -1 }, /guidance/],
    [{ prompt: 'a', sampler: 'euler' }, /sampler/],
    [{ prompt: 'a', blocks: [1, 2] }, /add up to the 25 steps/],
    [{ prompt: 'a', blocks: 100 }, /blocks/],
    [{ prompt: 'a', stream: 'yes' }, /stream/],
    [{ prompt: 'a', partial_images: 4 }, /partial_images/],
    [{ prompt: 'a', other: 1, strict: true }, /other/],
    [{ prompt: 'a', partial_images: 2, strict: true }, /partial_images has no effect without stream/],
  ];
  for (const [content, pattern] of cases) {
    const { status, body } = await post(url, GENERATE, content);
    assert.equal(status, 400, JSON.stringify(content));
    assertError(body, content);
    assert.match((body as { error: { message: string } }).error.message, pattern);
  }
  await works();
});

test('unknown routes and methods, wrong types and sizes are refused', async () => {
  const get = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(url + path, init);
    assertError(await response.json(), path);
    return response;
  };
  assert.equal((await get('/nothing')).status, 404);
  assert.equal((await get('/files/..%2f..%2fpackage.json')).status, 404);
  assert.equal((await get('/assets/..%2findex.html')).status, 404);
  assert.equal((await get('/v1/models/%00')).status, 404);
  const wrong = await get(GENERATE);
  assert.deepEqual([wrong.status, wrong.headers.get('allow')], [405, 'POST']);
  assert.equal((await get(GENERATE, { method: 'DELETE' })).status, 405);
  assert.equal((await get(GENERATE, { method: 'POST', body: 'a=b' })).status, 415);
  assert.equal((await get('/v1/images/edits', { method: 'POST', body: '{}' })).status, 415);
  const form = { method: 'POST', headers: { 'content-type': 'multipart/form-data; boundary=x' }, body: 'nothing' };
  assert.equal((await get('/v1/images/edits', form)).status, 400);
  // A truncated file, a part without a name, a repeated field.
  const part = (head: string, content = 'abc') => `--x\r\nContent-Disposition: form-data${head}\r\n\r\n${content}`;
  for (const body of [
    part('; name="image"; filename="a.png"\r\nContent-Type: image/png'),
    `${part('')}\r\n--x--\r\n`,
    `${part('; filename="a.png"\r\nContent-Type: image/png')}\r\n--x--\r\n`,
    `${part('; name="prompt"')}\r\n${part('; name="prompt"')}\r\n--x--\r\n`,
    `${part('; name="prompt"')}\r\n${part('; name="image"; filename="a.png"')}\r\n--x--\r\n`,
  ]) {
    assert.equal((await get('/v1/images/edits', { ...form, body })).status, 400, body);
  }
  const refused = async (form: FormData, pattern: RegExp) => {
    const response = await fetch(`${url}/v1/images/edits`, { method: 'POST', body: form });
    const { error } = (await response.json()) as { error: { message: string } };
    assert.equal(response.status, 400);
    assert.match(error.message, pattern);
  };
  const noImage = new FormData();
  noImage.set('prompt', 'a');
  await refused(noImage, /^expected an image file for image, found none; see /);
  const file = new FormData();
  file.set('prompt', new Blob([new Uint8Array(1000)]), 'prompt.txt');
  await refused(file, /^expected a string for prompt, found a file; see /);
  const many = new FormData();
  for (let k = 0; k < 51; k++) many.set(`field${k}`, 'a');
  await refused(many, /^expected a form with at most 50 fields of text, found more; /);
  const long = new FormData();
  long.set('prompt', 'a'.repeat(2 ** 18 + 1));
  await refused(long, /^expected a form with at most 262144 bytes in a field, found more; /);
  assert.equal((await get('/v1/models/sd15', { method: 'POST' })).status, 405);
  const large = JSON.stringify({ prompt: 'a'.repeat(10 * 2 ** 20) });
  const { status, body } = await post(url, GENERATE, large);
  assert.equal(status, 413);
  assertError(body, 'a large one');
  await works();
});

test('invalid HTTP and oversized headers are refused; pipelined and chunked requests work', async () => {
  assert.match(await raw('nonsense\r\n\r\n'), /^HTTP\/1\.1 400 [^]*"code":"bad_request"/);
  assert.match(await raw(`GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`), /^HTTP\/1\.1 431 /);
  assert.match(await raw(head('many')), /^HTTP\/1\.1 400 /);
  assert.match(
    await raw('CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n'),
    /^HTTP\/1\.1 405 [^]*"code":"method_not_allowed"/,
  );
  assert.match(await raw(head(2, 'Expect: miracles\r\n')), /^HTTP\/1\.1 417 [^]*"code":"expectation_failed"/);
  const one = `GET /healthz/live HTTP/1.1\r\nHost: localhost\r\n\r\n`;
  const answers = await raw(one + one + one.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
  assert.equal(answers.match(/HTTP\/1\.1 200 OK/g)?.length, 3);
  const content = '{"prompt": "a", "steps": 1}';
  const chunked = head('').replace(/Content-Length: \r\n/, 'Transfer-Encoding: chunked\r\nConnection: close\r\n');
  assert.match(
    await raw(`${chunked}${content.length.toString(16)}\r\n${content}\r\n0\r\n\r\n`, { end: false }),
    /^HTTP\/1\.1 200 /,
  );
  const large = 'x'.repeat(2 ** 20 + 1);
  assert.match(
    await raw(`${chunked}${large.length.toString(16)}\r\n${large}\r\n0\r\n\r\n`, { end: false }),
    /^HTTP\/1\.1 413 /,
  );
  await works();
});

test('a client that leaves in the middle of its request does no harm', async () => {
  const socket = connect(Number(port), '127.0.0.1');
  socket.write(head(1000, 'Expect: 100-continue\r\n'));
  // The server has read the headers when it asks for the content.
  await once(socket, 'data');
  await new Promise((resolve) => socket.write('{"prompt":', resolve));
  socket.destroy();
  await works();
});

test('a client that leaves frees its place within an evaluation, in every phase', async () => {
  const server = await serve({ concurrency: 1, models: [SD15, SD21V] });
  const busy = async () => (await metric(server.url, 'srds_running')) === 1;
  const idle = async () =>
    (await metric(server.url, 'srds_running')) === 0 && (await metric(server.url, 'srds_queue_length')) === 0;
  const long = { prompt: 'a', steps: 250, sampler: 'serial' };
  const leaving = async (request: object, when: () => Promise<boolean> | boolean, beforeHand = false) => {
    const controller = new AbortController();
    const asked = fetch(server.url + GENERATE, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(request),
      signal: controller.signal,
    });
    const ended = asked.then((response) => response.text()).catch((error: unknown) => String(error));
    if (!beforeHand) await until(when);
    controller.abort();
    assert.match(await ended, /Abort/);
  };
  // While the request is sent, the model loads, the image is generated, and the events are streamed.
  await leaving(long, busy, true);
  await until(idle);
  await leaving({ ...long, model: 'sd21v' }, busy);
  await until(idle);
  await leaving(
    long,
    async () => (await metric(server.url, 'srds_evaluations_total{kind="fine"}'.replace(/[{}]/g, '\\$&'))) > 3,
  );
  await until(idle);
  await leaving({ ...long, sampler: 'srds', stream: true, partial_images: 3 }, busy);
  await until(idle);
  // Nothing is evaluated for clients that have left: the rows that follow belong to a request of one step.
  const oneStep = { prompt: 'a', steps: 1, sampler: 'serial' };
  assert.ok((await metric(server.url, 'srds_device_busy_seconds_total\\{device="cpu"\\}')) > 0);
  assert.equal((await post(server.url, GENERATE, oneStep)).status, 200);
  const rows = await metric(server.url, 'srds_batch_rows_sum');
  assert.equal((await post(server.url, GENERATE, oneStep)).status, 200);
  assert.equal(await metric(server.url, 'srds_batch_rows_sum'), rows + 2);
  // While it waits in the queue: the running request continues.
  const first = post(server.url, GENERATE, { prompt: 'a', steps: 60, sampler: 'serial' });
  await until(busy);
  await leaving(long, async () => (await metric(server.url, 'srds_queue_length')) === 1);
  await until(async () => (await metric(server.url, 'srds_queue_length')) === 0);
  assert.equal((await first).status, 200);
  await works(server.url);
});

test('a full queue answers with Retry-After; a deadline ends a longer request', async () => {
  const server = await serve({ concurrency: 1, queue: 1 });
  const long = { prompt: 'a', steps: 50, sampler: 'serial' };
  const all = await Promise.all(Array.from({ length: 4 }, () => post(server.url, GENERATE, long)));
  assert.deepEqual(all.map(({ status }) => status).sort(), [200, 200, 429, 429]);
  const refused = all.find(({ status }) => status === 429)!;
  assert.ok(Number(refused.headers.get('retry-after')) >= 1);
  assertError(refused.body, 'a full queue');
  const late = await post(server.url, GENERATE, { ...long, steps: 250, n: 8, deadline: 0.1 });
  assert.equal(late.status, 504);
  assertError(late.body, 'a deadline');
  const [, waited] = await Promise.all([
    // So long that it outlasts the deadline of the one that waits for it, on any machine.
    post(server.url, GENERATE, { ...long, steps: 250, n: 4 }),
    until(async () => (await metric(server.url, 'srds_running')) === 1).then(() =>
      post(server.url, GENERATE, { prompt: 'a', deadline: 0.1 }),
    ),
  ]);
  assert.equal(waited.status, 504);
  await works(server.url);
});

test('a model that cannot be loaded is an error of each request; the server continues', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'srds-'));
  cpSync(SD15, folder, { recursive: true });
  const unet = join(folder, 'unet/model.onnx');
  changeModel(unet, unet, ({ graph }) => graph.initializer.pop());
  const config = parseConfig([{ name: 'the test', settings: { port: 0, models: [folder], logLevel: 'silent' } }]);
  const server = await startServer(config, { log: createLog('silent'), signal: new AbortController().signal });
  context.after(() => server.close());
  for (let k = 0; k < 2; k++) {
    const { status, body } = await post(server.url, GENERATE, { prompt: 'a' });
    assert.equal(status, 503);
    const { message } = (body as { error: { message: string } }).error;
    assert.match(message, /unet/);
    assert.ok(!message.includes(tmpdir()), message);
  }
  assert.equal((await fetch(`${server.url}/healthz/ready`)).status, 503);
  assert.equal((await fetch(`${server.url}/healthz/live`)).status, 200);
  rmSync(folder, { recursive: true });
});

test('a client that sends headers too slowly is cut off with a 408', async () => {
  assert.match(await slow, /^HTTP\/1\.1 408 [^]*"code":"request_timeout"/);
  await works();
});

test('a request that memory does not suffice for is answered 400, with a size that fits', async () => {
  const base = (await serve({ maxPixels: 2 ** 24 })).url;
  const { status, body } = await post(base, GENERATE, { prompt: 'a', steps: 1, size: '4096x4096' });
  assert.equal(status, 400, JSON.stringify(body));
  assert.match(JSON.stringify(body), /free memory for 4096x4096 pixels on the CPU.*choose a size of at most/);
  await works(base);
});
