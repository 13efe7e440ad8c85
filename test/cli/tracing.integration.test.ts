import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { z } from 'zod';
import { start } from '../support/cli.js';
import { addressOf, post, ready, SD15 } from '../support/server.js';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const CALLER = 'b7ad6b7169203331';

const value = z.object({ stringValue: z.string().optional(), intValue: z.union([z.int(), z.string()]).optional() });
const attributes = z.array(z.object({ key: z.string(), value }));
const span = z.object({
  traceId: z.string(),
  spanId: z.string(),
  parentSpanId: z.string().optional(),
  name: z.string(),
  attributes,
  status: z.object({ code: z.int().optional() }),
});
/** What an OTLP collector receives. Source: opentelemetry-proto, trace.proto. */
const export_ = z.object({
  resourceSpans: z.array(
    z.object({ resource: z.object({ attributes }), scopeSpans: z.array(z.object({ spans: z.array(span) })) }),
  ),
});

test('with a collector in the environment, a request is a trace of its waiting, loading and generating, below its caller', async (context) => {
  const received: string[] = [];
  const collector = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      received.push(body);
      response.setHeader('content-type', 'application/json').end('{}');
    });
  });
  collector.listen(0, '127.0.0.1');
  context.after(() => collector.close());
  await once(collector, 'listening');
  const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
  const { child, ended } = start(['serve', '--port', '0', '--model', SD15, '--threads', '1'], {
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SERVICE_NAME: 'painter' },
  });
  const url = await addressOf(child);
  await ready(url);
  const headers = { traceparent: `00-${TRACE}-${CALLER}-01` };
  const generate = (body: object) => post(url, '/v1/images/generations', body, headers);
  assert.equal((await generate({ prompt: 'a secret', steps: 3, sampler: 'serial' })).status, 200);
  assert.equal((await generate({ prompt: 'a secret', steps: 250, sampler: 'serial', deadline: 0.1 })).status, 504);
  child.kill('SIGTERM');
  assert.equal((await ended).code, 0);

  const exported = received.flatMap((text) => export_.parse(JSON.parse(text)).resourceSpans);
  const plain = (list: z.output<typeof attributes>) =>
    Object.fromEntries(list.map(({ key, value: { stringValue, intValue } }) => [key, stringValue ?? Number(intValue)]));
  assert.equal(plain(exported[0].resource.attributes)['service.name'], 'painter');
  const spans = exported.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans));
  const ours = spans.filter(({ traceId }) => traceId === TRACE);
  const requests = ours.filter(({ parentSpanId }) => parentSpanId === CALLER);
  assert.deepEqual(
    requests.map(({ name, status, attributes: list }) => [
      name,
      status.code ?? 0,
      plain(list)['http.response.status_code'],
    ]),
    [
      ['POST /v1/images/generations', 0, 200],
      ['POST /v1/images/generations', 2, 504],
    ],
  );
  const below = (parent: string) => ours.filter(({ parentSpanId }) => parentSpanId === parent);
  const names = below(requests[0].spanId).map(({ name }) => name);
  assert.deepEqual(names.sort(), ['generate images', 'load the model', 'wait for a turn']);
  const generating = below(requests[0].spanId).find(({ name }) => name === 'generate images')!;
  const {
    'srds.sampler': sampler,
    'srds.steps': steps,
    'srds.evaluations': evaluations,
  } = plain(generating.attributes);
  assert.deepEqual([sampler, steps, evaluations], ['serial', 3, 3]);
  assert.ok(!received.join().includes('secret'));
});

test('a collector that never answers changes nothing; the server ends without it', async (context) => {
  let requests = 0;
  const collector = createServer(() => requests++);
  collector.listen(0, '127.0.0.1');
  context.after(() => {
    collector.closeAllConnections();
    collector.close();
  });
  await once(collector, 'listening');
  const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
  const { child, ended } = start(['serve', '--port', '0', '--model', SD15, '--threads', '1'], {
    // Without a limit of the server's, it would wait for an hour.
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_EXPORTER_OTLP_TIMEOUT: '3600000',
      OTEL_BSP_EXPORT_TIMEOUT: '3600000',
    },
  });
  const url = await addressOf(child);
  await ready(url);
  assert.equal((await post(url, '/v1/images/generations', { prompt: 'a', steps: 1 })).status, 200);
  child.kill('SIGTERM');
  const { code, stdout } = await ended;
  assert.equal(code, 0);
  assert.ok(requests > 0);
  assert.match(stdout, /no answer of the collector within 2 s.*the last traces are lost/);
});
