import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createLog, parseConfig, startServer, type RunningServer } from 'srds/server';
import { assertError, metric, post, SD15, SD21V, startTiny, until } from '../support/server.js';

const servers: RunningServer[] = [];
after(() => Promise.all(servers.map((server) => server.close())));

async function serve(settings: Parameters<typeof startTiny>[0] = {}): Promise<RunningServer> {
  const server = await startTiny(settings);
  servers.push(server);
  return server;
}

const GENERATE = '/v1/images/generations';
const { url } = await serve({ maxBody: 1 });
const { port } = new URL(url);

/** That the next request is served as if nothing had been. */
async function works(base = url): Promise<void> {
  const { status, body } = await post(base, GENERATE, { prompt: 'a', steps: 1 });
  assert.equal(status, 200, JSON.stringify(body));
}

/** Writes bytes as they are and reads all that comes back until the connection ends. */
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

/** A client that sends a header line now and then, and never comes to an end; begun here, since it takes its time. */
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

test('content that makes no sense is a 400 in the form of the API, and the next request works', async () => {
  const cases: [unknown, RegExp][] = [
    ['', /expected JSON/],
    ['{"prompt": "a"', /expected JSON/],
    ['{"prompt": NaN}', /expected JSON/],
    ['[]', /expected object, received array/],
    ['null', /expected object/],
    ['"a"', /expected object/],
    [{}, /prompt: expected string/],
    [{ prompt: 1 }, /prompt/],
    [{ prompt: 'a'.repeat(40_000) }, /prompt/],
    ['{"prompt": "a", "steps": 1e999}', /steps/],
    [{ prompt: 'a', steps: 1.5 }, /steps/],
    [{ prompt: 'a', steps: 1e6 }, /steps/],
    [{ prompt: 'a', steps: '25' }, /steps/],
    [{ prompt: 'a', n: 0 }, /n: /],
    [{ prompt: 'a', n: 1e300 }, /n: /],
    [{ prompt: 'a', size: '9999x99999' }, /size|pixels|expected/],
    [{ prompt: 'a', size: '../../etc' }, /size/],
    [{ prompt: 'a', seed: -1 }, /seed/],
    [{ prompt: 'a', seed: 2 ** 60 }, /seed/],
    [{ prompt: 'a', guidance: -1 }, /guidance/],
    [{ prompt: 'a', sampler: 'euler' }, /sampler/],
    [{ prompt: 'a', blocks: [1, 2] }, /add up to the 25 steps/],
    [{ prompt: 'a', blocks: 100 }, /blocks/],
    [{ prompt: 'a', stream: 'yes' }, /stream/],
    [{ prompt: 'a', partial_images: 4 }, /partial_images/],
    [{ prompt: 'a', other: 1 }, /other/],
    ['{"prompt": "a", "__proto__": {"n": 3}}', /__proto__|unrecognized/i],
  ];
  for (const [content, pattern] of cases) {
    const { status, body } = await post(url, GENERATE, content);
    assert.equal(status, 400, JSON.stringify(content));
    assertError(body, content);
    assert.match((body as { error: { message: string } }).error.message, pattern);
  }
  await works();
});

test('routes, methods, types and sizes that there are not', async () => {
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
  // A file that ends early, a part without a name, one field twice.
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
  assert.equal((await get('/v1/models/sd15', { method: 'POST' })).status, 405);
  const large = JSON.stringify({ prompt: 'a'.repeat(10 * 2 ** 20) });
  const { status, body } = await post(url, GENERATE, large);
  assert.equal(status, 413);
  assertError(body, 'a large one');
  await works();
});

test('what is no HTTP, headers without end, pipelined requests', async () => {
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

test('half a request that goes away harms nobody', async () => {
  const socket = connect(Number(port), '127.0.0.1');
  socket.write(`${head(1000)}{"prompt":`);
  await delay(50);
  socket.destroy();
  await works();
});

test('a client that goes away frees its place within an evaluation, in every phase', async () => {
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
  // While it is sent, while the model is loaded, while it is drawn, while it is streamed.
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
  // Nothing is evaluated for those who have gone.
  const spent = await metric(server.url, 'srds_device_busy_seconds_total\\{device="cpu"\\}');
  await delay(300);
  assert.ok(spent > 0);
  assert.equal(await metric(server.url, 'srds_device_busy_seconds_total\\{device="cpu"\\}'), spent);
  // While it waits for its turn: the one before it is drawn on.
  const first = post(server.url, GENERATE, { prompt: 'a', steps: 60, sampler: 'serial' });
  await until(busy);
  await leaving(long, async () => (await metric(server.url, 'srds_queue_length')) === 1);
  await until(async () => (await metric(server.url, 'srds_queue_length')) === 0);
  assert.equal((await first).status, 200);
  await works(server.url);
});

test('a full queue says when to ask again, a deadline ends what lasts longer', async () => {
  const server = await serve({ concurrency: 1, queue: 1 });
  const long = { prompt: 'a', steps: 100, sampler: 'serial' };
  const all = await Promise.all(Array.from({ length: 4 }, () => post(server.url, GENERATE, long)));
  assert.deepEqual(all.map(({ status }) => status).sort(), [200, 200, 429, 429]);
  const refused = all.find(({ status }) => status === 429)!;
  assert.ok(Number(refused.headers.get('retry-after')) >= 1);
  assertError(refused.body, 'a full queue');
  const late = await post(server.url, GENERATE, { ...long, steps: 250, deadline: 0.2 });
  assert.equal(late.status, 504);
  assertError(late.body, 'a deadline');
  const [, waited] = await Promise.all([
    post(server.url, GENERATE, long),
    delay(30).then(() => post(server.url, GENERATE, { prompt: 'a', deadline: 0.1 })),
  ]);
  assert.equal(waited.status, 504);
  await works(server.url);
});

test('a model that cannot be loaded is an error of each request, not the end of the server', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'srds-'));
  cpSync(SD15, folder, { recursive: true });
  writeFileSync(join(folder, 'unet/model.onnx'), 'no graph');
  const config = parseConfig([{ name: 'the test', settings: { port: 0, models: [folder], logLevel: 'silent' } }]);
  const server = await startServer(config, { log: createLog('silent'), signal: new AbortController().signal });
  servers.push(server);
  for (let k = 0; k < 2; k++) {
    const { status, body } = await post(server.url, GENERATE, { prompt: 'a' });
    assert.equal(status, 500);
    assert.match((body as { error: { message: string } }).error.message, /unet/);
  }
  assert.equal((await fetch(`${server.url}/healthz/ready`)).status, 503);
  assert.equal((await fetch(`${server.url}/healthz/live`)).status, 200);
  rmSync(folder, { recursive: true });
});

test('a client that only drips is cut off when the time for headers is over', async () => {
  assert.match(await slow, /^HTTP\/1\.1 408 [^]*"code":"request_timeout"/);
  await works();
});
