import { createParser } from 'eventsource-parser';
import type { GenerateEvents } from '../../src/server/events.js';
import type { ForecastAnswer, Info } from '../../src/server/infoAnswer.js';

/** A batch: when it ran, in milliseconds, and its evaluations as iteration, block, step, image. */
export type Batch = Readonly<GenerateEvents['batch']>;
export type Plan = Readonly<GenerateEvents['plan']>;
export type FinishedImage = Readonly<GenerateEvents['image']>;
export type Counts = FinishedImage['evaluations'];

/** An event of /srds/v1/generate; errors are thrown instead. */
export type LiveEvent = {
  [Name in Exclude<keyof GenerateEvents, 'error'>]: { readonly type: Name } & Readonly<GenerateEvents[Name]>;
}[Exclude<keyof GenerateEvents, 'error'>];

interface ErrorDetails {
  /** HTTP status; undefined: the server did not answer. */
  readonly status?: number | undefined;
  readonly code?: string | undefined;
  /** The field that the error is about. */
  readonly param?: string | undefined;
  /** Seconds after which to try again. */
  readonly retryAfter?: number | undefined;
}

/** An error answer of the server. */
export class ServerError extends Error {
  constructor(
    message: string,
    readonly details: ErrorDetails = {},
  ) {
    super(message);
  }

  /** Whether the server could not be reached, or went away. */
  get isLost(): boolean {
    return this.details.status === undefined;
  }
}

/** @param key API key; empty if there is none. @throws ServerError */
export async function getInfo(key: string): Promise<Info> {
  const response = await ask('/srds/v1/info', { headers: authorization(key) });
  return (await response.json()) as Info;
}

/** What auto would choose for a request. @throws ServerError; the signal's reason if it is aborted */
export async function getForecast(request: object, key: string, signal: AbortSignal): Promise<ForecastAnswer> {
  const headers = { 'content-type': 'application/json', ...authorization(key) };
  const response = await ask('/srds/v1/forecast', { method: 'POST', headers, body: JSON.stringify(request), signal });
  return (await response.json()) as ForecastAnswer;
}

/** Whether the server takes requests. */
export async function isReady(): Promise<boolean> {
  return fetch('/healthz/ready').then(
    ({ ok }) => ok,
    () => false,
  );
}

/** Generates images. @throws ServerError; the signal's reason if it is aborted */
export async function* generate(request: object, key: string, signal: AbortSignal): AsyncGenerator<LiveEvent> {
  const headers = { 'content-type': 'application/json', ...authorization(key) };
  const response = await ask('/srds/v1/generate', { method: 'POST', headers, body: JSON.stringify(request), signal });
  const events: LiveEvent[] = [];
  const failures: ServerError[] = [];
  const ended: string[] = [];
  const parser = createParser({
    onEvent: ({ event, data }) => {
      const content = JSON.parse(data) as object;
      if (event === 'error') failures.push(errorFrom(content, 500));
      else events.push({ type: event, ...content } as LiveEvent);
      if (event === 'done') ended.push(event);
    },
  });
  const reader = (response.body as ReadableStream<BufferSource>).pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      signal.throwIfAborted();
      throw new ServerError('the connection broke');
    });
    if (value !== undefined) parser.feed(value);
    yield* events.splice(0);
    if (failures.length > 0) throw failures[0];
    if (done) break;
  }
  if (ended.length === 0) throw new ServerError('the connection broke');
}

async function ask(path: string, init: RequestInit): Promise<Response> {
  const response = await fetch(path, init).catch(() => {
    init.signal?.throwIfAborted();
    throw new ServerError('the server does not answer');
  });
  if (response.ok) return response;
  const content: unknown = await response.json().catch(() => undefined);
  const wait = Number(response.headers.get('retry-after'));
  throw errorFrom(content, response.status, wait > 0 ? wait : undefined);
}

function errorFrom(content: unknown, status: number, retryAfter?: number): ServerError {
  const { message, code, param } =
    (content as { error?: { message?: string; code?: string; param?: string | null } } | undefined)?.error ?? {};
  const details = { status, code, param: param ?? undefined, retryAfter };
  return new ServerError(message ?? `the server answered with status ${status}`, details);
}

function authorization(key: string): Record<string, string> {
  return key === '' ? {} : { authorization: `Bearer ${key}` };
}
