import { randomUUID } from 'node:crypto';
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { messageOf, systemCode } from '../../errors.js';
import { modelUrl, serverUrl, type Endpoint } from './endpoint.js';
import {
  decodeAnswer,
  encodeRequest,
  errorIn,
  MalformedAnswer,
  readModelConfig,
  readModelMetadata,
  readServerMetadata,
  type AnswerTensor,
  type InferRequest,
  type ModelConfig,
  type ModelMetadata,
  type ServerMetadata,
} from './oip.js';

/** How to connect to endpoints. Errors and logs never show its values. */
export interface Connection {
  /** Sent as `Authorization: Bearer`. */
  readonly token?: string | undefined;
  /** Further headers of each request. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Certificates of the authorities to trust, PEM; default: those of Node. */
  readonly ca?: string | undefined;
}

/**
 * Kinds of failures of a request.
 * `unreachable`: no connection, or it was lost. `untrusted`: the certificate is not trusted. `timeout`: no answer in time. `busy`: the server
 * has no room (429, 503). `denied`: it grants no access (401, 403). `missing`: it has no such model or route (404). `refused`: it takes no such
 * request (other 4xx). `failed`: it failed (5xx). `malformed`: its answer is wrong, or no HTTP.
 */
export type OipFailure =
  'unreachable' | 'untrusted' | 'timeout' | 'busy' | 'denied' | 'missing' | 'refused' | 'failed' | 'malformed';

/** A request that failed. */
export class OipError extends Error {
  /** @param retryAfter seconds after which the server wants to be asked again */
  constructor(
    readonly failure: OipFailure,
    message: string,
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

/** Limits of a request. */
export interface RequestLimits {
  /** Milliseconds until the answer must be complete. */
  readonly timeoutMs: number;
  /** Abandons the request. The server may compute its result all the same, as Triton does. */
  readonly signal?: AbortSignal | undefined;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Uint8Array;
}

/** Characters of a refusal that errors quote. */
const MAX_QUOTED = 200;
/** Bytes of the longest answer without tensors, and of what an answer with tensors may have beside them. */
const ABOUT_BYTES = 2 ** 20;
/** Failures that say nothing of whether the server has a route. */
const UNANSWERED: readonly OipFailure[] = ['unreachable', 'untrusted', 'timeout', 'busy'];
/** Statuses of a server, or of a gateway, that has no such route, or grants no access to it. */
const NO_CONTROL: readonly number[] = [401, 403, 404, 405, 501];
/** Milliseconds that an answer about the server or the model may take. */
const ABOUT_MS = 10_000;

/**
 * One model of a server that speaks the Open Inference Protocol v2, such as Triton's or KServe's, over connections that are kept alive.
 * @example
 * const client = new OipClient(parseEndpoint('oip+http://localhost:8000/unet'));
 * const { inputs } = await client.metadata();
 * const outputs = await client.infer({ inputs: tensors, outputs: ['out_sample'] }, { timeoutMs: 60_000, maxBytes: 2 ** 20 });
 * client.close();
 */
export class OipClient {
  private readonly agent: http.Agent | https.Agent;
  private readonly headers: Readonly<Record<string, string>>;

  constructor(
    private readonly endpoint: Endpoint,
    { token, headers, ca }: Connection = {},
  ) {
    const keeping = { keepAlive: true, scheduling: 'lifo' } as const;
    this.agent = isSecure(endpoint) ? new https.Agent({ ...keeping, ca }) : new http.Agent(keeping);
    this.headers = { ...headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) };
  }

  /** Name and version of the server. @throws OipError */
  async server(): Promise<ServerMetadata> {
    return this.read(serverUrl(this.endpoint), readServerMetadata);
  }

  /** Names, types and shapes of the model's inputs and outputs. @throws OipError */
  async metadata(): Promise<ModelMetadata> {
    return this.read(modelUrl(this.endpoint), readModelMetadata);
  }

  /** The model's configuration; undefined where the server is not Triton. @throws OipError */
  async config(): Promise<ModelConfig | undefined> {
    try {
      return await this.read(`${modelUrl(this.endpoint)}/config`, readModelConfig);
    } catch (error) {
      if (error instanceof OipError && !UNANSWERED.includes(error.failure)) return undefined;
      throw error;
    }
  }

  /** Whether the model takes requests. @throws OipError if the server does not answer */
  async isReady(limits: RequestLimits = { timeoutMs: ABOUT_MS }): Promise<boolean> {
    const { status } = await this.request('GET', `${modelUrl(this.endpoint)}/ready`, {}, [], limits);
    return status === 200;
  }

  /**
   * Has Triton load the model, or load it again, from its repository.
   * @returns false where the server loads models by itself only, or does not let this client ask
   * @throws OipError if the model cannot be loaded; what was loaded before stays
   */
  async load({ timeoutMs, signal }: RequestLimits): Promise<boolean> {
    const { endpoint } = this;
    const url = `${serverUrl(endpoint)}/repository/models/${endpoint.model}/load`;
    const answer = await this.request('POST', url, {}, [], { timeoutMs, signal });
    if (answer.status === 200) return true;
    if (NO_CONTROL.includes(answer.status) || /load \/ unload is not allowed/.test(errorIn(answer.body) ?? ''))
      return false;
    throw failureOf(answer);
  }

  /**
   * Runs the model.
   * @param limits `maxBytes`: of the tensors of the answer; a longer answer is abandoned
   * @returns its outputs by name
   * @throws OipError; the reason of the signal
   */
  async infer(
    request: Omit<InferRequest, 'id'>,
    limits: RequestLimits & { readonly maxBytes: number },
  ): Promise<ReadonlyMap<string, AnswerTensor>> {
    const { headers, parts } = encodeRequest({ id: randomUUID(), ...request });
    const answer = await this.request('POST', `${modelUrl(this.endpoint)}/infer`, headers, parts, limits);
    if (answer.status !== 200) throw failureOf(answer);
    return decoded(() => decodeAnswer(answer.headers, answer.body));
  }

  /** Closes idle connections. */
  close(): void {
    this.agent.destroy();
  }

  private async read<Content>(url: string, reader: (body: Uint8Array) => Content): Promise<Content> {
    const answer = await this.request('GET', url, {}, [], { timeoutMs: ABOUT_MS });
    if (answer.status !== 200) throw failureOf(answer);
    return decoded(() => reader(answer.body));
  }

  /** Sends a request; once more if the server closed the kept connection before it answered. */
  private async request(
    method: string,
    url: string,
    headers: Readonly<Record<string, string>>,
    parts: readonly Uint8Array[],
    { timeoutMs, signal, maxBytes = 0 }: RequestLimits & { readonly maxBytes?: number },
  ): Promise<Answer> {
    const abandoned = new AbortController();
    const abandon = () => abandoned.abort();
    const timer = setTimeout(abandon, timeoutMs);
    signal?.addEventListener('abort', abandon);
    try {
      for (;;) {
        signal?.throwIfAborted();
        const sent = this.send(method, url, headers, parts, ABOUT_BYTES + maxBytes, abandoned.signal);
        try {
          return await sent.answer;
        } catch (error) {
          signal?.throwIfAborted();
          if (abandoned.signal.aborted) throw new OipError('timeout', `no answer within ${timeoutMs / 1000} s`);
          if (error instanceof OipError) throw error;
          // The loop ends: a new connection is not a reused one.
          if (!sent.wasStale()) throw unreachable(error);
        }
      }
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abandon);
    }
  }

  private send(
    method: string,
    url: string,
    headers: Readonly<Record<string, string>>,
    parts: readonly Uint8Array[],
    maxBytes: number,
    signal: AbortSignal,
  ): { readonly answer: Promise<Answer>; wasStale(): boolean } {
    const { request } = isSecure(this.endpoint) ? https : http;
    const sent = request(url, { method, agent: this.agent, headers: { ...this.headers, ...headers }, signal });
    let answered = false;
    const answer = new Promise<Answer>((resolve, reject) => {
      sent.on('error', reject);
      sent.on('response', (response) => {
        answered = true;
        const { statusCode: status = 0, headers } = response;
        // Of a failure, only the beginning is quoted.
        const body = status === 200 ? wholeBody(response, maxBytes) : startOfBody(response);
        body.then((body) => resolve({ status, headers, body }), reject);
      });
    });
    sent.setNoDelay(true);
    sent.cork();
    for (const part of parts) sent.write(part);
    sent.end();
    sent.uncork();
    const wasStale = () => sent.reusedSocket && !answered;
    return { answer, wasStale };
  }
}

/** The whole body. @throws OipError `malformed` if it is longer; Error if it is cut off */
async function wholeBody(response: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  const { body, isWhole } = await bodyOf(response, maxBytes);
  if (isWhole) return body;
  throw new OipError('malformed', `an answer of more than ${maxBytes} bytes`);
}

/** The body, or its beginning if it is long. @throws Error if it is cut off */
async function startOfBody(response: IncomingMessage): Promise<Uint8Array> {
  return (await bodyOf(response, ABOUT_BYTES)).body;
}

/** The body, or what came of it before it exceeded a number of bytes; the connection is closed then. @throws Error if it is cut off */
function bodyOf(
  response: IncomingMessage,
  maxBytes: number,
): Promise<{ readonly body: Uint8Array; readonly isWhole: boolean }> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const end = (isWhole: boolean) =>
      resolve({ body: chunks.length === 1 ? chunks[0] : Buffer.concat(chunks), isWhole });
    response.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length <= maxBytes) return void chunks.push(chunk);
      end(false);
      response.destroy();
    });
    response.on('end', () => end(true));
    response.on('error', reject);
    response.on('aborted', () => reject(new Error('an answer that was cut off')));
  });
}

function decoded<Content>(decode: () => Content): Content {
  try {
    return decode();
  } catch (error) {
    throw error instanceof MalformedAnswer ? new OipError('malformed', error.message) : error;
  }
}

/** The failure that an answer reports. */
function failureOf({ status, headers, body }: Answer): OipError {
  const text = errorIn(body) ?? Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8');
  const quoted = text.trim() === '' ? '' : ` (${text.trim().slice(0, MAX_QUOTED)})`;
  const message = `status ${status}${quoted}`;
  if (status === 429 || status === 503) {
    const seconds = Number(headers['retry-after']);
    return new OipError('busy', message, Number.isFinite(seconds) ? seconds : undefined);
  }
  // A gateway answers for a server that it does not reach.
  if (status === 502 || status === 504) return new OipError('unreachable', message);
  if (status === 401 || status === 403) return new OipError('denied', message);
  if (status === 404) return new OipError('missing', message);
  return new OipError(status >= 500 ? 'failed' : 'refused', message);
}

function unreachable(error: unknown): OipError {
  const code = systemCode(error) ?? '';
  if (code === 'HPE_INVALID_CONSTANT') return new OipError('malformed', 'an answer that is not HTTP');
  const isUntrusted = /CERT|SIGNATURE|SELF_SIGNED|ISSUER/.test(code);
  return new OipError(isUntrusted ? 'untrusted' : 'unreachable', reasonOf(error));
}

/** An attempt at several addresses of a host fails with an error without a message. */
function reasonOf(error: unknown): string {
  return error instanceof AggregateError && error.errors.length > 0 ? messageOf(error.errors[0]) : messageOf(error);
}

function isSecure({ url }: Endpoint): boolean {
  return url.startsWith('https:');
}
