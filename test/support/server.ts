import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { start } from './cli.js';
import { createLog, parseConfig, startServer, type RunningServer, type ServerValues } from 'srds/server';
import { fixture } from './fixtures.js';

/** Tiny models, which generate 64 pixels square in a tenth of a second. */
export const SD15 = fixture('models/sd15');
export const SD21V = fixture('models/sd21v');

/** Starts a server in this process, on a port that is free, with a tiny model unless told otherwise. */
export async function startTiny(settings: ServerValues = {}): Promise<RunningServer> {
  const base = { port: 0, models: [SD15], threads: 1, logLevel: 'silent' };
  const config = parseConfig([{ name: 'the test', settings: { ...base, ...settings } }]);
  const server = await startServer(config, { log: createLog('silent'), signal: new AbortController().signal });
  await ready(server.url);
  return server;
}

/** Waits until requests are taken. */
export async function ready(url: string): Promise<void> {
  for (;;) {
    const answer = await fetch(`${url}/healthz/ready`).catch(() => undefined);
    if (answer?.status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

/** Posts JSON and reads the answer, which is JSON. */
export async function post(
  url: string,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

/** A metric's value. */
export async function metric(base: string, name: string): Promise<number> {
  const text = await (await fetch(`${base}/metrics`)).text();
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
}

/** Waits until something holds. */
export async function until(what: () => Promise<boolean> | boolean): Promise<void> {
  for (let k = 0; !(await what()); k++) {
    assert.ok(k < 500, 'it never came to that');
    await delay(20);
  }
}

/** That an answer has the form of OpenAI's errors. @param what for the message */
export function assertError(body: unknown, what: unknown): void {
  const { error } = body as { error: Record<string, unknown> };
  assert.deepEqual(Object.keys(error), ['message', 'type', 'param', 'code'], JSON.stringify([what, body]));
  assert.equal(typeof error.message, 'string');
}

/** Where a server that was started as a command listens, from its log. */
export function addressOf(child: ReturnType<typeof start>['child']): Promise<string> {
  let log = '';
  return new Promise((resolve, reject) => {
    child.stdout!.on('data', (text: string) => {
      log += text;
      const found = /"url":"([^"]+)"/.exec(log)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once('close', () => reject(new Error(`it does not listen: ${log}`)));
  });
}

export async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return text.trim().split(' ').filter(Boolean).map(Number);
}
