// Clients of one and of two `srds serve` on the same two Triton servers, of which one is killed. `npm run bench:servers [-- SECONDS]`
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startTriton } from '../test/support/tritonServer.js';
import { describeLoad, load, startServer, type ServerProcess } from './loadTest.js';

const CLIENTS = 32;
const SECONDS = Number(process.argv[2] ?? 60);
const MODEL = 'test/fixtures/models/sd15';
const REQUESTS = [{ steps: 10, sampler: 'serial' }, { steps: 10 }, { steps: 25, sampler: 'srds', blocks: 5 }];

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
const repository = join(scratch, 'models');
const exporting = ['export-triton', MODEL, repository, '--backend', 'python', '--batches', '1,2,4,8'];
execFileSync(process.execPath, ['dist/cli/main.js', ...exporting]);
const endpoints = await Promise.all([startTriton(repository), startTriton(repository)]);
const device = endpoints.map(({ url }) => `oip+${url}/unet`).join(',');

let failures = 0;
/** Puts servers under load. @param during what happens in the middle */
async function measure(title: string, servers: readonly ServerProcess[], during = async () => {}): Promise<void> {
  const end = performance.now() + SECONDS * 1000;
  const urls = servers.map(({ url }) => url);
  const [seen] = await Promise.all([load(urls, CLIENTS, REQUESTS, end), delay(500 * SECONDS).then(during)]);
  failures += seen.failures.length;
  console.log(`${title}, ${CLIENTS} clients, ${SECONDS} s: ${describeLoad(seen, SECONDS)}\n`);
}

const servers: ServerProcess[] = [];
try {
  for (const name of ['a', 'b']) {
    const args = ['--model', MODEL, '--device', device, '--threads', '1', '--concurrency', '4'];
    servers.push(await startServer(args, { XDG_CACHE_HOME: join(scratch, name) }));
  }
  await measure('one server', servers.slice(0, 1));
  await measure('two servers', servers);
  await measure('two servers, one endpoint is killed', servers, () => endpoints[1].stop('SIGKILL'));
} finally {
  await Promise.all(servers.map((server) => server.stop()));
  await Promise.all(endpoints.map((endpoint) => endpoint.stop()));
  rmSync(scratch, { recursive: true });
}
process.exitCode = failures > 0 ? 1 : 0;
