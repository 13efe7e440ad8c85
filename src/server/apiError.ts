import type { Logger } from 'pino';
import { messageOf, oneLine, SrdsError, type ErrorCode } from '../errors.js';
import type { ErrorBody } from './errorBody.js';

/** An error answer: an HTTP status and the fields of OpenAI's error form (`{"error": {...}}`). */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** The name of the invalid parameter, if there is one. */
    readonly param: string | null = null,
    readonly headers: Readonly<Record<string, string>> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  get type(): string {
    if (this.status === 401 || this.status === 403) return 'authentication_error';
    if (this.status === 429) return 'rate_limit_error';
    return this.status >= 500 ? 'server_error' : 'invalid_request_error';
  }

  /** The content of the answer, as OpenAI's clients read it. */
  get body(): ErrorBody {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } };
  }
}

const STATUS: Readonly<Record<ErrorCode, number>> = {
  INVALID_OPTION: 400,
  MODEL_NOT_FOUND: 404,
  MODEL_INVALID: 400,
  DOWNLOAD_FAILED: 502,
  OUTPUT_FAILED: 500,
  ENGINE_FAILED: 503,
  DEVICE_UNAVAILABLE: 503,
  LISTEN_FAILED: 500,
};

/** The answer to any error. An unexpected error reveals nothing about the server's internals. */
export function toApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (thrown instanceof SrdsError) {
    const { expected, found, remedy } = withoutPlaces(thrown);
    const message = oneLine(`expected ${expected}, found ${found}; ${remedy}`);
    return new ApiError(STATUS[thrown.code], thrown.code.toLowerCase(), message);
  }
  return new ApiError(500, 'internal_error', 'the server failed; see its log');
}

/** A path of at least two parts, from the root of a Unix or Windows file system, and its last part. */
const PATH = /(?<![\w./:])(?:\/|[A-Z]:\\)(?:[^\s/\\"',;:()]+[/\\])+([^\s/\\"',;:()]*)/g;

/** The names of endpoints, with commas between them. */
const ENDPOINTS = /oip\+https?:\/\/[^\s;]+/g;

/**
 * The parts of an error for clients: with names instead of paths, and nothing of the hosts that run the network. What a failed endpoint says
 * may name hosts and paths in any form.
 */
export function withoutPlaces({
  code,
  ...error
}: SrdsError): Readonly<Record<'expected' | 'found' | 'remedy', string>> {
  const clean = (text: string) => text.replace(PATH, '$1').replace(ENDPOINTS, 'an endpoint');
  const [expected, found, remedy] = [error.expected, error.found, error.remedy].map(clean);
  const isOfEndpoint = error.expected.search(ENDPOINTS) >= 0 && code !== 'INVALID_OPTION';
  return isOfEndpoint
    ? { expected, found: 'a failure', remedy: "ask the server's operator" }
    : { expected, found, remedy };
}

/** The error of a request that did not end by its deadline. */
export function deadlineExceeded(seconds: number): ApiError {
  return new ApiError(
    504,
    'deadline_exceeded',
    `expected to finish within ${seconds} s, found more work; request less or a later deadline`,
  );
}

/** The error of a request whose client left. Nobody reads the answer; the metrics count its status. */
export function clientGone(): ApiError {
  return new ApiError(499, 'client_closed_request', 'the client closed the connection');
}

/** The error of a request to a server that shuts down. */
export function shuttingDown(): ApiError {
  return new ApiError(503, 'shutting_down', 'the server is shutting down; retry later', null, {
    'retry-after': '5',
  });
}

/** Logs errors that are the server's fault. @param id of the request */
export function logFailure(log: Logger, id: string, thrown: unknown): void {
  const { status } = toApiError(thrown);
  if (status < 500) return;
  // A passed deadline or a shutdown, not a defect.
  if (thrown instanceof ApiError)
    return log.warn({ id, status, error: messageOf(causeOf(thrown)) }, 'request given up');
  log.error(
    { id, status, error: messageOf(causeOf(thrown)), stack: thrown instanceof Error ? thrown.stack : undefined },
    'request failed',
  );
}

/** What an error was made from, which may say more than clients should read. */
export function causeOf(thrown: unknown): unknown {
  return thrown instanceof Error && thrown.cause instanceof SrdsError ? thrown.cause : thrown;
}
