import { createParser } from 'eventsource-parser';
import type { GenerateEvents } from '../../src/server/events.js';
import type { Info } from '../../src/server/infoAnswer.js';

/** A batch: when it ran, in milliseconds, and its evaluations as iteration, block, step. */
export type Batch = Readonly<GenerateEvents['batch']>;
export type Done = Readonly<GenerateEvents['done']>;
export type Counts = Done['evaluations'];

/** An event of /srds/v1/generate; errors are thrown instead. */
export type LiveEvent = {
  [Name in Exclude<keyof GenerateEvents, 'error'>]: { readonly type: Name } & Readonly<GenerateEvents[Name]>;
}[Exclude<keyof GenerateEvents, 'error'>];

/** An error answer of the server; without a status, the server did not answer. */
export class ServerError extends Error {
  constructor(
    message: string,
    readonly status?: number,
  ) {
    super(message);
  }
}

const UNREACHABLE = 'The server cannot be reached.';

/** @param key API key; empty if there is none. @throws ServerError */
export async function getInfo(key: string): Promise<Info> {
  const response = await ask('/srds/v1/info', { headers: authorization(key) });
  return (await response.json()) as Info;
}

/** Whether the server takes requests. */
export async function isReady(): Promise<boolean> {
  return fetch('/healthz/ready').then(
    ({ ok }) => ok,
    () => false,
  );
}

/** Generates an image. @throws ServerError; the signal's reason if it is aborted */
export async function* generate(request: object, key: string, signal: AbortSignal): AsyncGenerator<LiveEvent> {
  const headers = { 'content-type': 'application/json', ...authorization(key) };
  const response = await ask('/srds/v1/generate', { method: 'POST', headers, body: JSON.stringify(request), signal });
  const events: LiveEvent[] = [];
  const failures: string[] = [];
  const ended: string[] = [];
  const parser = createParser({
    onEvent: ({ event, data }) => {
      const content = JSON.parse(data) as object;
      if (event === 'error') failures.push(messageIn(content) ?? 'The server failed.');
      else events.push({ type: event, ...content } as LiveEvent);
      if (event === 'done') ended.push(event);
    },
  });
  const reader = (response.body as ReadableStream<BufferSource>).pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read().catch((error: unknown) => {
      signal.throwIfAborted();
      throw new ServerError(`${UNREACHABLE} The connection broke: ${String(error)}`);
    });
    if (value !== undefined) parser.feed(value);
    yield* events.splice(0);
    if (failures.length > 0) throw new ServerError(failures[0], 500);
    if (done) break;
  }
  if (ended.length === 0) throw new ServerError(`${UNREACHABLE} The connection broke.`);
}

async function ask(path: string, init: RequestInit): Promise<Response> {
  const response = await fetch(path, init).catch(() => {
    init.signal?.throwIfAborted();
    throw new ServerError(UNREACHABLE);
  });
  if (response.ok) return response;
  const content: unknown = await response.json().catch(() => undefined);
  throw new ServerError(messageIn(content) ?? `The server answered ${response.status}.`, response.status);
}

function messageIn(content: unknown): string | undefined {
  return (content as { error?: { message?: string } } | undefined)?.error?.message;
}

function authorization(key: string): Record<string, string> {
  return key === '' ? {} : { authorization: `Bearer ${key}` };
}
