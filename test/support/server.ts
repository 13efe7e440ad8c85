import { createLog, parseConfig, startServer, type Given, type RunningServer } from 'srds/server';
import { fixture } from './fixtures.js';

/** Tiny models, which draw 64 pixels square in a tenth of a second. */
export const SD15 = fixture('models/sd15');
export const SD21V = fixture('models/sd21v');

/** Starts a server in this process, on a port that is free, with a tiny model unless told otherwise. */
export async function startTiny(settings: Given = {}): Promise<RunningServer> {
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
