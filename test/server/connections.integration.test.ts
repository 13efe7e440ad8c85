import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Hono } from 'hono';
import { listen } from '../../src/server/listen.js';
import { serve } from '../support/serve.js';
import { assertError, metric, post, until } from '../support/server.js';

const GENERATE = '/v1/images/generations';
const { url } = await serve();
const port = Number(new URL(url).port);

/** A connection that sends pieces, and what it has received until it is closed. */
function converse(pieces: readonly string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let answer = '';
  socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
  socket.on('error', () => undefined);
  const closed = new Promise<string>((resolve) => socket.once('close', () => resolve(answer)));
  void (async () => {
    for (const piece of pieces) {
      socket.write(piece);
      await delay(50);
    }
  })();
  return closed;
}

/** The JSON content of the only answer in a text. */
function contentOf(answer: string): unknown {
  return JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4));
}

const get = (path: string, host = 'localhost', more = '') => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;
const CLOSE = 'Connection: close\r\n';

test('a client that pipelines thousands of requests has a few answered, and loses its connection', async () => {
  const answers = await converse([get('/v1/models').repeat(4000)]);
  const count = answers.match(/HTTP\/1\.1 200/g)?.length ?? 0;
  assert.ok(count <= 17, `${count} answers`);
  assert.ok((await metric(url, 'srds_requests_total\\{route="/v1/models",status="200"\\}')) <= 17);
});

test('a CONNECT request whose client goes away does not end the server', async () => {
  for (let k = 0; k < 5; k++) {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    socket.write('CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n');
    await delay(10);
    socket.resetAndDestroy();
  }
  await delay(50);
  assert.match(await converse(['CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n']), /^HTTP\/1\.1 405 /);
});

test('pipelined requests are handled one after the other, and answered in order', async () => {
  const body = JSON.stringify({ prompt: 'a', steps: 30, sampler: 'serial', size: '32x32' });
  const head = `POST ${GENERATE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
  const one = `${head}Content-Length: ${body.length}\r\n\r\n${body}`;
  let most = 0;
  const conversation = converse([one + one + one + get('/healthz/live', 'localhost', CLOSE)]);
  const ended = new AbortController();
  void conversation.then(() => ended.abort());
  while (!ended.signal.aborted)
    most = Math.max(most, (await metric(url, 'srds_running')) + (await metric(url, 'srds_queue_length')));
  assert.equal(most, 1);
  const answers = await conversation;
  assert.equal(answers.match(/HTTP\/1\.1 200/g)?.length, 4);
  assert.ok(answers.endsWith('{"status":"ok"}'));
});

test('a reader that takes nothing of an answer loses its connection; an answer that takes long to make does not', async () => {
  const app = new Hono();
  app.get('/large', () => new Response(new Uint8Array(2 ** 26)));
  app.get('/late', async () => {
    await delay(65_000);
    return new Response('late');
  });
  const { server, url: base, openRequests } = await listen(app, '127.0.0.1', 0);
  try {
    const late = fetch(`${base}/late`).then((response) => response.text());
    const socket = connect(Number(new URL(base).port), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.pause();
    socket.write(get('/large'));
    await until(() => openRequests() === 2);
    for (let second = 0; openRequests() === 2 && second < 64; second++) await delay(1000);
    assert.equal(openRequests(), 1);
    assert.equal(await late, 'late');
    socket.destroy();
  } finally {
    server.close();
  }
});

test('malformed requests get a 400 in the form of the API before the connection closes', async () => {
  const chunked = `POST ${GENERATE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`;
  const cases: readonly (readonly string[])[] = [
    [get('/v1/models', '127.0.0.256', CLOSE)],
    [
      `POST ${GENERATE} HTTP/1.1\r\nHost: 127.0.0.256\r\nContent-Type: application/json\r\nContent-Length: 2\r\n${CLOSE}\r\n{}`,
    ],
    [get('/v1/models', 'a b', CLOSE)],
    [get('/v1/models', 'localhost:99999', CLOSE)],
    ['GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n'],
    [get('/v1\\models', 'localhost', CLOSE)],
    ['\x16\x03\x01\x00\xa5'],
    ['BREW /coffee HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    [`nonsense\r\n\r\n${'x'.repeat(2 ** 22)}`],
    [`${chunked}zz\r\n`],
    [chunked, '2\r\n{}\r\n', 'zz\r\n', 'zz\r\n'],
  ];
  for (const pieces of cases) {
    const answer = await converse(pieces);
    assert.match(answer, /^HTTP\/1\.1 400 /, pieces.join('').slice(0, 200));
    assertError(contentOf(answer), pieces.join('').slice(0, 200));
  }
  assert.equal((await post(url, GENERATE, { prompt: 'a', steps: 1 })).status, 200);
});
