import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OipClient, parseEndpoint, type OipError } from 'srds/engine';
import { until } from '../../support/async.js';
import { OipServer, type Fault, type OipModel, type OipTensor } from '../../support/oipServer.js';

const ROW = [3];
const floats = (values: readonly number[]) => new Uint8Array(Float32Array.from(values).buffer);
const valuesOf = ({ bytes }: OipTensor) => [...new Float32Array(Uint8Array.from(bytes).buffer)];

/** Doubles its input. */
const DOUBLING: OipModel = {
  name: 'double',
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, ...ROW] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, ...ROW] }],
  compute: ({ inputs }) => {
    const x = inputs.get('x')!;
    return { ...x, bytes: floats(valuesOf(x).map((value) => 2 * value)) };
  },
};
const REQUEST = {
  inputs: [{ name: 'x', datatype: 'FP32', shape: [2, 3], pieces: [floats([1, 2, 3]), floats([4, 5, NaN])] }],
  outputs: ['y'],
  parameters: { priority: 2 },
};
const LIMITS = { timeoutMs: 10_000, maxBytes: 1000 };

async function withServer(use: (server: OipServer, client: OipClient) => Promise<void>): Promise<void> {
  const server = await OipServer.start(DOUBLING);
  const client = new OipClient(parseEndpoint(server.device), { token: 'secret-token', headers: { 'x-team': 'a' } });
  try {
    await use(server, client);
  } finally {
    client.close();
    await server.stop();
  }
}

test('a request has its tensors, parameters, token and headers, and the answer its values, also NaN', () =>
  withServer(async (server, client) => {
    const y = (await client.infer(REQUEST, LIMITS)).get('y')!;
    assert.deepEqual([y.datatype, y.shape, valuesOf(y)], ['FP32', [2, 3], [2, 4, 6, 8, 10, NaN]]);
    const [{ headers, parameters, inputs }] = server.received;
    assert.equal(headers.authorization, 'Bearer secret-token');
    assert.equal(headers['x-team'], 'a');
    assert.deepEqual(parameters, { priority: 2 });
    assert.deepEqual(valuesOf(inputs.get('x')!), [1, 2, 3, 4, 5, NaN]);
  }));

test('chunked answers are read, and requests share a connection', () =>
  withServer(async (server, client) => {
    server.faultOf = () => ({ kind: 'chunk' });
    for (let k = 0; k < 3; k++) assert.equal(valuesOf((await client.infer(REQUEST, LIMITS)).get('y')!)[3], 8);
    assert.equal(server.connections, 1);
  }));

test('a reused connection that the server reset is replaced, and the request sent again', () =>
  withServer(async (server, client) => {
    await client.infer(REQUEST, LIMITS);
    server.faultOf = (request) => (request === 1 ? { kind: 'reset' } : undefined);
    assert.equal(valuesOf((await client.infer(REQUEST, LIMITS)).get('y')!)[0], 2);
    assert.equal(server.received.length, 3);
    assert.equal(server.connections, 2);
    server.faultOf = () => ({ kind: 'reset' });
    await assert.rejects(client.infer(REQUEST, LIMITS), { failure: 'unreachable' });
  }));

test('each failure has its kind, and no message has the token', () =>
  withServer(async (server, client) => {
    const failureFor = async (fault: Fault) => {
      server.faultOf = () => fault;
      return client.infer(REQUEST, { ...LIMITS, timeoutMs: fault.kind === 'hang' ? 100 : 10_000 }).then(
        () => assert.fail('no failure'),
        (error: unknown) => error as OipError,
      );
    };
    const failures = [
      [{ kind: 'status', status: 400, text: 'unexpected shape' }, 'refused', /unexpected shape/],
      [{ kind: 'status', status: 401 }, 'denied', /401/],
      [{ kind: 'status', status: 403 }, 'denied', /403/],
      [{ kind: 'status', status: 404 }, 'missing', /404/],
      [{ kind: 'status', status: 500 }, 'failed', /500/],
      [{ kind: 'status', status: 503, retryAfter: 3 }, 'busy', /503/],
      [{ kind: 'status', status: 429 }, 'busy', /429/],
      [{ kind: 'status', status: 504 }, 'unreachable', /504/],
      [{ kind: 'hang' }, 'timeout', /0.1 s/],
      [{ kind: 'truncate' }, 'malformed', /cut off in y/],
      [{ kind: 'cut' }, 'unreachable', /./],
      [{ kind: 'reset' }, 'unreachable', /./],
      [{ kind: 'json' }, 'malformed', /no binary tensors/],
      [{ kind: 'change', change: (y: OipTensor) => ({ ...y, shape: [9] }) }, 'malformed', /24 bytes for y/],
    ] as const;
    for (const [fault, failure, message] of failures) {
      const error = await failureFor(fault);
      assert.equal(error.failure, failure, fault.kind);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /secret-token|\n/);
      if (fault.kind === 'status') assert.equal(error.retryAfter, 'retryAfter' in fault ? fault.retryAfter : undefined);
    }
  }));

test('an answer that is longer than it can be is abandoned, and of a failure only the beginning is read', () =>
  withServer(async (server, client) => {
    server.faultOf = () => ({ kind: 'endless' });
    await assert.rejects(client.infer(REQUEST, LIMITS), { failure: 'malformed', message: /more than 1049576 bytes/ });
    server.faultOf = () => ({ kind: 'endless', status: 500 });
    await assert.rejects(client.infer(REQUEST, LIMITS), { failure: 'failed', message: /status 500 \(endless endless/ });
    server.isEndless = true;
    for (const ask of [() => client.metadata(), () => client.server(), () => client.isReady()])
      await assert.rejects(ask(), { failure: 'malformed', message: /more than 1048576 bytes/ });
    assert.equal(await client.config(), undefined);
    // What the client read, and what the system's buffers hold of the six answers.
    assert.ok(server.endlessBytes < 2 ** 27, String(server.endlessBytes));
    await until(() => server.open === 0);
  }));

test('an aborted request rejects with the reason of its signal', () =>
  withServer(async (server, client) => {
    server.faultOf = () => ({ kind: 'hang' });
    const controller = new AbortController();
    const running = client.infer(REQUEST, { ...LIMITS, signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 20);
    await assert.rejects(running, /enough/);
  }));

test('loading a model fails, or is left to the server, as the server says', () =>
  withServer(async (server, client) => {
    const answers: [loading: OipServer['loading'], result: boolean | RegExp][] = [
      [undefined, false],
      [[200], true],
      [[403], false],
      [[503, 'explicit model load / unload is not allowed if polling is enabled'], false],
      [[503, 'the server is shutting down'], /503 .*shutting down/],
      [[400, "failed to load 'double', failed to poll from model repository"], /400 .*failed to poll/],
      [[500, 'no backend'], /500 .*no backend/],
    ];
    for (const [loading, result] of answers) {
      server.loading = loading;
      if (typeof result === 'boolean') assert.equal(await client.load(LIMITS), result);
      else await assert.rejects(client.load(LIMITS), result);
    }
  }));

test('metadata, configuration and readiness of a model', () =>
  withServer(async (server, client) => {
    assert.deepEqual((await client.metadata()).inputs, DOUBLING.inputs);
    assert.equal(await client.config(), undefined);
    assert.equal(await client.isReady(), true);
    server.isReady = false;
    assert.equal(await client.isReady(), false);
    assert.equal((await client.server()).name, 'fake');
    const other = new OipClient(parseEndpoint(server.device.replace('double', 'other')));
    await assert.rejects(other.metadata(), { failure: 'missing' });
    other.close();
  }));
