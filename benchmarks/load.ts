// 64 clients and one slow reader on `srds serve` with a tiny model. `npm run bench:load [-- SECONDS]`
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describeLoad, load, startServer } from './loadTest.js';

const CLIENTS = 64;
const SECONDS = Number(process.argv[2] ?? 120);
const MODEL = 'test/fixtures/models/sd15';
const REQUESTS = [
  { steps: 10, sampler: 'serial' },
  { steps: 10 },
  { steps: 25, sampler: 'srds', blocks: 5 },
  { steps: 16, stream: true, partial_images: 2 },
];

const server = await startServer(['--model', MODEL, '--queue', '48']);
const { url } = server;
const end = performance.now() + SECONDS * 1000;
const memory: number[] = [];

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
    memory.push(residentMemory(server.pid));
    await delay(1000);
  }
})();
const [seen] = await Promise.all([load([url], CLIENTS, REQUESTS, end), watching, slowReader()]);
await server.stop();

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const part = Math.min(30, Math.floor(memory.length / 3));
const [first, last] = [mean(memory.slice(part / 3, part)), mean(memory.slice(-part))];
console.log(`${CLIENTS} clients, ${SECONDS} s: ${describeLoad(seen, SECONDS)}`);
console.log(
  `memory: ${first.toFixed(0)} MiB at first, ${last.toFixed(0)} MiB at last, ${(100 * (last / first - 1)).toFixed(1)} %`,
);
process.exitCode = seen.failures.length > 0 || last > 1.05 * first ? 1 : 0;
