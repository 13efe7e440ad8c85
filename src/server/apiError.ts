import type { Logger } from 'pino';
import { messageOf, SrdsError, type ErrorCode } from '../errors.js';

/** An answer that is an error: its status and what OpenAI's form of an error has (`{"error": {...}}`). */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** The parameter that is wrong, if it is one. */
    readonly param: string | null = null,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }

  get type(): string {
    if (this.status === 401 || this.status === 403) return 'authentication_error';
    if (this.status === 429) return 'rate_limit_error';
    return this.status >= 500 ? 'server_error' : 'invalid_request_error';
  }

  /** As OpenAI's clients read it. */
  get body(): { readonly error: { readonly message: string; type: string; param: string | null; code: string } } {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } };
  }
}

const STATUS: Readonly<Record<ErrorCode, number>> = {
  INVALID_OPTION: 400,
  MODEL_NOT_FOUND: 404,
  MODEL_INVALID: 500,
  DOWNLOAD_FAILED: 502,
  OUTPUT_FAILED: 500,
  ENGINE_FAILED: 503,
  DEVICE_UNAVAILABLE: 503,
  LISTEN_FAILED: 500,
};

/** Anything that was thrown as an answer. What is no error of a user's says nothing of the inside. */
export function toApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (thrown instanceof SrdsError) return new ApiError(STATUS[thrown.code], thrown.code.toLowerCase(), thrown.message);
  return new ApiError(500, 'internal_error', 'the server failed; its log says why');
}

/** A request that lasted too long. */
export function deadlineExceeded(seconds: number): ApiError {
  return new ApiError(504, 'deadline_exceeded', `expected to be done within ${seconds} s, found no end; ask for less`);
}

/** Whoever asked is not there to be answered: this is for the metrics. */
export function clientGone(): ApiError {
  return new ApiError(499, 'client_closed_request', 'the client went away');
}

/** A server that takes nothing more. */
export function shuttingDown(): ApiError {
  return new ApiError(503, 'shutting_down', 'the server is being shut down; ask again later', null, {
    'retry-after': '5',
  });
}

/** What the server is to blame for, with all that is known of it. */
export function logFailure(log: Logger, id: string, thrown: unknown): void {
  const { status } = toApiError(thrown);
  if (status < 500) return;
  // A deadline, a server that is ending: nothing is wrong inside.
  if (thrown instanceof ApiError) return log.warn({ id, status, error: thrown.message }, 'given up');
  log.error(
    { id, status, error: messageOf(thrown), stack: thrown instanceof Error ? thrown.stack : undefined },
    'failed',
  );
}
