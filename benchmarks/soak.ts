// Clients of all APIs that share two models which take turns in memory, some of whom leave, while device processes are killed and stopped
// and the models are read anew. `npm run bench:soak [-- SECONDS]`
// It fails if a request is not answered exactly once, if an answer is a 5xx other than a 503 or 504 with a reason, if memory or open files
// grow, or if a seed gives other bytes afterwards.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

const SECONDS = Number(process.argv[2] ?? 600);
const CLIENTS = 12;
const MODELS = ['sd15', 'sd21v'];
const ARGS = ['serve', '--port', '0', '--queue', '8', '--memory', '0.0001', '--threads', '1', '--deadline', '120'];
/** How often something happens to the server, in seconds. */
const EVERY = { kill: 7, reload: 19, stop: 60, sample: 1 };
const RENDER = { prompt: 'a red ball', seed: 7, steps: 6, sampler: 'serial' };

type Content = Readonly<Record<string, unknown>>;
const KINDS: readonly { readonly path: string; readonly body: Content }[] = [
  { path: '/v1/images/generations', body: { steps: 8, sampler: 'serial' } },
  { path: '/v1/images/generations', body: { steps: 9, sampler: 'srds', stream: true, partial_images: 2 } },
  { path: '/v1/images/generations', body: { steps: 4, response_format: 'url', n: 2 } },
  { path: '/srds/v1/generate', body: { steps: 9 } },
  { path: '/sdapi/v1/txt2img', body: { steps: 5 } },
];

const models = MODELS.flatMap((name) => ['--model', `test/fixtures/models/${name}`]);
const server = spawn(process.execPath, ['dist/cli/main.js', ...ARGS, ...models]);
const { pid = 0 } = server;
server.stderr.pipe(process.stderr);
/** Lines of the log about a request, by its id. */
const logged = new Map<string, number>();
const url = await new Promise<string>((resolve) => {
  let address = '';
  createInterface(server.stdout).on('line', (line) => {
    const entry = JSON.parse(line) as { msg: string; url?: string; id?: string };
    if (entry.url !== undefined) address = entry.url;
    if (entry.msg === 'ready') resolve(address);
    if (entry.msg === 'request' && entry.id !== undefined) logged.set(entry.id, (logged.get(entry.id) ?? 0) + 1);
  });
});

const end = performance.now() + SECONDS * 1000;
const isOver = () => performance.now() >= end;
const sent: string[] = [];
const statuses = new Map<string, number>();
const failures: string[] = [];
const done = { aborted: 0, kill: 0, reload: 0, stop: 0 };

function count(status: string): void {
  statuses.set(status, (statuses.get(status) ?? 0) + 1);
}

async function ask(path: string, body: Content, signal?: AbortSignal): Promise<{ status: number; text: string }> {
  const id = randomUUID();
  sent.push(id);
  const headers = { 'content-type': 'application/json', 'x-request-id': id };
  const response = await fetch(url + path, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
    ...(signal && { signal }),
  });
  return { status: response.status, text: await response.text() };
}

/** The bytes of an image with a known seed, once there is one. */
async function image(model: string): Promise<string> {
  for (;;) {
    const { status, text } = await ask('/v1/images/generations', { ...RENDER, model });
    if (status === 200) return (JSON.parse(text) as { data: { b64_json: string }[] }).data[0].b64_json;
    await delay(500);
  }
}

async function client(number: number): Promise<void> {
  for (let k = number; !isOver(); k++) {
    const { path, body } = KINDS[k % KINDS.length];
    const model = MODELS[(k >> 1) % MODELS.length];
    const content = { prompt: `client ${number}`, ...body, ...(path.startsWith('/sdapi') ? {} : { model }) };
    const isLeaving = k % 4 === 0;
    const signal = isLeaving ? AbortSignal.timeout(20 + ((37 * k) % 400)) : undefined;
    try {
      const { status, text } = await ask(path, content, signal);
      count(String(status));
      const error = /event: error\ndata: (.*)/.exec(text)?.[1] ?? (status >= 400 ? text : undefined);
      if (error !== undefined) check(status, error);
      if (status === 429) await delay(300);
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'TimeoutError') failures.push(`no answer: ${String(error)}`);
      done.aborted++;
    }
  }
}

/** Notes an error that clients should not meet. */
function check(status: number, error: string): void {
  const isExplained = /"(message|detail)":"expected [^"]+/.test(error) || error.includes('shutting_down');
  const isKnown = status < 500 || status === 503 || status === 504;
  if (!isKnown || !isExplained || error.includes('internal_error')) failures.push(`${status}: ${error.slice(0, 300)}`);
  if (status === 200) count('error in a stream');
}

function children(): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

async function every(seconds: number, act: () => void): Promise<void> {
  for (let next = seconds; next < SECONDS; next += seconds) {
    await delay(seconds * 1000);
    act();
  }
}

/** Sends a signal to a device process, if there is one. */
function signalDevice(signal: 'SIGKILL' | 'SIGSTOP', name: 'kill' | 'stop'): void {
  const child = children().at(0);
  if (child === undefined) return;
  process.kill(child, signal);
  done[name]++;
}

const memory: number[] = [];
const files: number[] = [];
function sample(): void {
  memory.push(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024);
  files.push(readdirSync(`/proc/${pid}/fd`).length);
}

const before = await Promise.all(MODELS.map(image));
await Promise.all([
  ...Array.from({ length: CLIENTS }, (_, k) => client(k)),
  every(EVERY.kill, () => signalDevice('SIGKILL', 'kill')),
  every(EVERY.stop, () => signalDevice('SIGSTOP', 'stop')),
  every(EVERY.reload, () => {
    server.kill('SIGHUP');
    done.reload++;
  }),
  every(EVERY.sample, sample),
]);
const after = await Promise.all(MODELS.map(image));
const left = children();
server.kill('SIGTERM');
const code = await new Promise<number | null>((resolve) => server.once('close', resolve));

if (before.some((bytes, k) => bytes !== after[k])) failures.push('a seed gives other bytes afterwards');
const answers = sent.map((id) => logged.get(id) ?? 0);
const twice = answers.filter((lines) => lines > 1).length;
// The log of a client that left before its request arrived may lack it.
const none = answers.filter((lines) => lines === 0).length;
if (twice > 0 || none > done.aborted) failures.push(`${twice} requests were answered twice, ${none} never`);
if (code !== 0) failures.push(`the server ended with ${code}`);
if (left.some((child) => isAlive(child))) failures.push('a device process was left');
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const third = Math.floor(memory.length / 3);
const change = (values: readonly number[]) =>
  [mean(values.slice(third, 2 * third)), mean(values.slice(2 * third))] as const;
const [[memoryThen, memoryNow], [filesThen, filesNow]] = [change(memory), change(files)];
if (memoryNow > 1.1 * memoryThen + 16) failures.push('memory grows');
if (filesNow > 1.1 * filesThen + 8) failures.push('open files grow');

console.log(`${SECONDS} s, ${CLIENTS} clients, ${sent.length} requests; ${JSON.stringify(done)}`);
console.log(`answers by status: ${JSON.stringify(Object.fromEntries(statuses))}`);
console.log(`memory: ${memoryThen.toFixed(0)} MiB in the second third, ${memoryNow.toFixed(0)} MiB in the last`);
console.log(`open files: ${filesThen.toFixed(1)} in the second third, ${filesNow.toFixed(1)} in the last`);
console.log(failures.length === 0 ? 'no failures' : `${failures.length} failures: ${failures.slice(0, 5).join('\n')}`);
process.exitCode = failures.length > 0 ? 1 : 0;

function isAlive(child: number): boolean {
  try {
    return process.kill(child, 0);
  } catch {
    return false;
  }
}
