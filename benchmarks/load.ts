// 64 clients and one slow reader on `srds serve` with a tiny model. `npm run bench:load [-- SECONDS]`
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const CLIENTS = 64;
const SECONDS = Number(process.argv[2] ?? 120);
const MODEL = 'test/fixtures/models/sd15';
const REQUESTS = [
  { steps: 10, sampler: 'serial' },
  { steps: 10 },
  { steps: 25, sampler: 'srds', blocks: 5 },
  { steps: 16, stream: true, partial_images: 2 },
];

const server = spawn(process.execPath, ['dist/cli/main.js', 'serve', '--port', '0', '--model', MODEL, '--queue', '48']);
const url = await new Promise<string>((resolve) => {
  let log = '';
  server.stdout.setEncoding('utf8').on('data', (text: string) => {
    log = (log + text).slice(-4096);
    const found = /"url":"([^"]+)"[^]*"msg":"ready"/.exec(log)?.[1];
    if (found !== undefined) resolve(found);
  });
});

const end = performance.now() + SECONDS * 1000;
const statuses = new Map<number, number>();
const latencies: number[] = [];
const memory: number[] = [];
const failures: string[] = [];

async function client(number: number): Promise<void> {
  for (let k = number; performance.now() < end; k++) {
    const start = performance.now();
    const response = await fetch(`${url}/v1/images/generations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: `client ${number}`, ...REQUESTS[k % REQUESTS.length] }),
    });
    const text = await response.text();
    statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
    if (response.status === 429) await delay(1000 * Math.min(2, Number(response.headers.get('retry-after'))));
    else if (!response.ok || text.includes('event: error')) failures.push(text.slice(0, 200));
    else latencies.push(performance.now() - start);
  }
}

/** Requests streams and hardly reads them. */
async function slowReader(): Promise<void> {
  const { port } = new URL(url);
  const body = JSON.stringify({ prompt: 'a', steps: 25, stream: true, partial_images: 3 });
  const head = `POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
  while (performance.now() < end) {
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`);
    socket.pause();
    await delay(Math.min(5000, Math.max(0, end - performance.now())));
    socket.destroy();
  }
}

/** Resident memory of the server and its device processes, in MiB. */
function residentMemory(pid: number): number {
  const of = (id: number) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
  return [pid, ...children.map(Number)].reduce((sum, id) => sum + of(id), 0);
}

const watching = (async () => {
  while (performance.now() < end) {
    memory.push(residentMemory(server.pid ?? 0));
    await delay(1000);
  }
})();
await Promise.all([watching, slowReader(), ...Array.from({ length: CLIENTS }, (_, k) => client(k))]);
server.kill('SIGTERM');
await new Promise((resolve) => server.once('close', resolve));

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const part = Math.min(30, Math.floor(memory.length / 3));
const [first, last] = [mean(memory.slice(part / 3, part)), mean(memory.slice(-part))];
latencies.sort((a, b) => a - b);
const percentile = (share: number) => `${latencies[Math.floor(share * latencies.length)]?.toFixed(0)} ms`;
console.log(
  `${CLIENTS} clients, ${SECONDS} s: ${latencies.length} images, ${(latencies.length / SECONDS).toFixed(1)} a second`,
);
console.log(
  `answers by status: ${JSON.stringify(Object.fromEntries(statuses))}, failures: ${failures.length}`,
  failures.slice(0, 3),
);
console.log(
  `latency: 50 % ${percentile(0.5)}, 90 % ${percentile(0.9)}, 99 % ${percentile(0.99)}, most ${percentile(0.9999)}`,
);
console.log(
  `memory: ${first.toFixed(0)} MiB at first, ${last.toFixed(0)} MiB at last, ${(100 * (last / first - 1)).toFixed(1)} %`,
);
process.exitCode = failures.length > 0 || last > 1.05 * first ? 1 : 0;
