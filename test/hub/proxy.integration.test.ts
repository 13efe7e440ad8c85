import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { hubSettings, snapshot } from 'srds/hub';
import { repositoryInfo } from '../support/hub.js';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const CONTENT = Buffer.from('{"a": 1}');
const scratch = mkdtempSync(join(tmpdir(), 'srds-'));

/** A hub with one file. */
const hub = createServer(({ url = '' }, response) => {
  const oid = createHash('sha1').update(`blob ${CONTENT.length}\0`).update(CONTENT).digest('hex');
  if (url.includes('/resolve/')) return void response.end(CONTENT);
  const info = repositoryInfo('a/b', COMMIT);
  const tree = [{ type: 'file', path: 'a.json', size: CONTENT.length, oid }];
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(url.includes('/tree/') ? tree : info));
});

/** Requests that the proxy received, with their credentials. It sends plain ones to the hub and refuses tunnels. */
let log: string[] = [];
const proxy = createServer((incoming, response) => {
  const { method = '', url = '', headers } = incoming;
  log.push(`${method} ${new URL(url).origin} ${headers['proxy-authorization'] ?? ''}`.trim());
  const { pathname, search } = new URL(url);
  const onward = request({ port: portOf(hub), path: pathname + search, method, headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 500, answer.headers);
    answer.pipe(response);
  });
  incoming.pipe(onward);
});
proxy.on('connect', ({ url = '' }, socket) => {
  log.push(`CONNECT ${url}`);
  socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
});

const portOf = (server: Server) => (server.address() as AddressInfo).port;
before(async () => {
  for (const server of [hub, proxy]) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  }
});
after(() => {
  for (const server of [hub, proxy]) server.close();
  rmSync(scratch, { recursive: true });
});
beforeEach(() => {
  log = [];
});

let count = 0;
/** Fetches the file into a new cache. */
async function fetchFile(endpoint: string, env: Record<string, string>): Promise<void> {
  const settings = await hubSettings({ HF_HOME: join(scratch, String(count++)), HF_ENDPOINT: endpoint, ...env });
  const folder = await snapshot(
    { name: 'a/b', revision: 'main' },
    { settings, selections: [async (paths) => Promise.resolve(paths)] },
  );
  assert.deepEqual(readFileSync(join(folder, 'a.json')), CONTENT);
}

const address = (credentials = '') => `http://${credentials}127.0.0.1:${portOf(proxy)}`;
const direct = () => `http://127.0.0.1:${portOf(hub)}`;

test('http addresses are requested from HTTP_PROXY or ALL_PROXY, without a tunnel', async () => {
  for (const name of ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy']) {
    log = [];
    await fetchFile('http://hub.invalid', { [name]: address('me:se%20cret@') });
    const credentials = Buffer.from('me:se cret').toString('base64');
    assert.deepEqual(log, Array<string>(3).fill(`GET http://hub.invalid Basic ${credentials}`), name);
  }
});

test('https addresses are reached through a tunnel of HTTPS_PROXY or ALL_PROXY; a refused one is one line', async () => {
  for (const name of ['HTTPS_PROXY', 'https_proxy', 'ALL_PROXY']) {
    log = [];
    await assert.rejects(fetchFile('https://hub.invalid', { [name]: address() }), {
      code: 'DOWNLOAD_FAILED',
      message: /^expected to reach https:\/\/hub\.invalid [^\n]*the proxy[^\n]*$/,
    });
    assert.ok(log.length > 0 && log.every((line) => line === 'CONNECT hub.invalid:443'), log.join());
  }
});

test('what NO_PROXY names is requested directly, as is what has no proxy', async () => {
  for (const except of ['127.0.0.1', '*', 'a.example, 127.0.0.1', `127.0.0.1:${portOf(hub)}`]) {
    await fetchFile(direct(), { HTTP_PROXY: address(), NO_PROXY: except });
  }
  await fetchFile(direct(), { HTTPS_PROXY: address() });
  await fetchFile(direct(), {});
  assert.deepEqual(log, []);
  // A proxy of http addresses is not one of https addresses.
  await assert.rejects(fetchFile(direct().replace('http', 'https'), { HTTP_PROXY: address() }), {
    code: 'DOWNLOAD_FAILED',
  });
  assert.deepEqual(log, []);
  await fetchFile(direct(), { HTTP_PROXY: address(), NO_PROXY: 'example' });
  assert.equal(log.length, 3);
});
