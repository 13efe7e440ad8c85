import { createParser } from 'eventsource-parser';
import type { FormControl } from './parameters.js';

export interface Counts {
  readonly critical: number;
  readonly total: number;
  readonly serial: number;
}

/** When a batch ran, in milliseconds, and what it evaluated: iteration, block, step. */
export interface Batch {
  readonly begin: number;
  readonly end: number;
  readonly rows: number;
  readonly evaluations: readonly (readonly [iteration: number, block: number, step: number])[];
}

export interface Done {
  readonly status: string;
  readonly sampler: string;
  readonly iterations: number;
  readonly residuals: readonly number[];
  readonly evaluations: Counts;
  /** A PNG file as base64. */
  readonly image: string;
  readonly seed: number | string;
  readonly parameters: string;
  readonly seconds: number;
  readonly reason: string | null;
}

/** What /srds/v1/generate streams. */
export type LiveEvent =
  | { readonly type: 'queued'; readonly waiting: number }
  | { readonly type: 'started'; readonly model: string; readonly queueSeconds: number }
  | ({ readonly type: 'batch' } & Batch)
  | {
      readonly type: 'iteration';
      readonly iteration: number;
      readonly residual: number | null;
      readonly evaluations: Counts;
      readonly ms: number;
    }
  | { readonly type: 'preview'; readonly iteration: number; readonly image: string }
  | { readonly type: 'warning'; readonly message: string }
  | ({ readonly type: 'done' } & Done);

export interface Info {
  readonly version: string;
  readonly models: readonly {
    readonly name: string;
    readonly width: number;
    readonly height: number;
    readonly pixels: number;
  }[];
  readonly form: readonly FormControl[];
}

/** An answer of the server that is an error, or, without a status, no answer. */
export class ServerError extends Error {
  constructor(
    message: string,
    readonly status?: number,
  ) {
    super(message);
  }
}

const UNREACHABLE = 'The server cannot be reached.';

/** @throws ServerError */
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

/** Draws an image. @throws ServerError; the signal's reason if it is aborted */
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
      throw new ServerError(`${UNREACHABLE} It went away: ${String(error)}`);
    });
    if (value !== undefined) parser.feed(value);
    yield* events.splice(0);
    if (failures.length > 0) throw new ServerError(failures[0], 500);
    if (done) break;
  }
  if (ended.length === 0) throw new ServerError(`${UNREACHABLE} It went away.`);
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
