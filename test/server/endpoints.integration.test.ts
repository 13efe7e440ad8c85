import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspectModel, readModelFolder } from 'srds/model';
import { createLog, parseConfig, startServer } from 'srds/server';
import { serve } from '../support/serve.js';
import { post, SD15 } from '../support/server.js';
import { OipServer } from '../support/oipServer.js';
import { SD15_UNET } from '../support/oipDenoiser.js';

const GIBI = 2 ** 30;
const ENDPOINT = 'oip+http://127.0.0.1:9/unet';

test('the limit on memory counts the weights that are loaded here: not those of a network that only endpoints run', async () => {
  const { weights } = inspectModel(await readModelFolder(SD15));
  const all = weights.all + weights.vaeEncoder;
  const cases = [
    ['cpu', all, false],
    ['cpu', all - 1, true],
    [`cpu,${ENDPOINT}`, all - 1, true],
    [ENDPOINT, all - weights.network, false],
    [ENDPOINT, all - weights.network - 1, true],
  ] as const;
  for (const [device, bytes, isExceeded] of cases) {
    const warnings: string[] = [];
    const log = createLog('silent');
    log.warn = (...logged: unknown[]) => void warnings.push(String(logged.at(-1)));
    const settings = { port: 0, models: [SD15], threads: 1, device, memory: bytes / GIBI };
    const config = parseConfig([{ name: 'the test', settings }]);
    const server = await startServer(config, { log, signal: new AbortController().signal });
    await server.close();
    const exceeded = warnings.filter((warning) => /exceed the memory limit/.test(warning));
    assert.equal(exceeded.length, isExceeded ? 1 : 0, `${device} with ${bytes} bytes`);
  }
});

test('clients learn that an endpoint failed, and nothing of the hosts behind the server', async () => {
  const endpoint = await OipServer.start(SD15_UNET);
  const server = await serve({ device: endpoint.device });
  const request = { prompt: 'a', steps: 2 };
  endpoint.faultOf = () => ({ kind: 'status', status: 500, text: 'no memory on gpu-7.internal, see C:/logs' });
  const running = await post(server.url, '/v1/images/generations', request);
  assert.equal(running.status, 503);
  await endpoint.stop();
  const opening = await post(server.url, '/v1/images/generations', request);
  assert.equal(opening.status, 503);
  const messages = [running, opening].map(({ body }) => (body as { error: { message: string } }).error.message);
  assert.match(
    messages[0],
    /^expected an endpoint to run a batch of 2 rows, found a failure; ask the server's operator$/,
  );
  assert.match(messages[1], /\(expected an endpoint to be ready, found a failure\); ask the server's operator$/);
});
