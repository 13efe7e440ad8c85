import type { Context } from 'hono';
import type { z } from 'zod';
import { issueOf } from '../errors.js';
import { ApiError, clientGone } from './apiError.js';

/** What a handler is given beside its input. */
export interface Caller {
  /** Of the request. */
  readonly id: string;
  /** Name of the API key. */
  readonly key: string;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
  /** Address of this server as the client may use it. */
  readonly base: string;
}

/** A route, with the schemas that check it and that describe it at /openapi.json. */
export interface Endpoint<Body = unknown> {
  readonly method: 'get' | 'post';
  /** As in OpenAPI: `/v1/models/{model}`. */
  readonly path: string;
  readonly summary: string;
  /** Of the request's content, if it has any. */
  readonly body?: z.ZodType<Body>;
  /** Whether the content is a form rather than JSON. */
  readonly form?: boolean;
  /** What a good answer holds; the others are errors. */
  readonly answer: z.ZodType;
  /** What is streamed instead if it is asked for. */
  readonly events?: z.ZodType;
  /** Whether it is for everyone, key or not. */
  readonly open?: boolean;
  readonly handle: (body: Body, caller: Caller, context: Context) => Response | Promise<Response>;
}

/** Keeps the type of a body between its schema and its handler. */
export function endpoint<Body>(given: Endpoint<Body>): Endpoint {
  return given as unknown as Endpoint;
}

/**
 * What a client sent, checked.
 * @throws ApiError 400
 */
export function checked<Schema extends z.ZodType>(schema: Schema, content: unknown): z.output<Schema> {
  const { success, data, error } = schema.safeParse(content);
  if (success) return data;
  const [issue] = error.issues;
  const param =
    issue.code === 'unrecognized_keys' ? issue.keys[0] : issue.path.length > 0 ? String(issue.path[0]) : null;
  throw new ApiError(
    400,
    'invalid_parameter',
    `expected a valid request, found ${issueOf(issue)}; see /openapi.json`,
    param,
  );
}

/**
 * The content of a request, read no further than is allowed.
 * @throws ApiError 413, 499
 */
export async function contentOf({ req }: Context, maxBytes: number): Promise<Buffer> {
  const tooLarge = () => {
    const most = maxBytes / 2 ** 20;
    return new ApiError(413, 'request_too_large', `expected at most ${most} MiB, found more; send less`);
  };
  if (Number(req.header('content-length') ?? 0) > maxBytes) throw tooLarge();
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const part of (req.raw.body ?? []) as AsyncIterable<Uint8Array>) {
      size += part.length;
      if (size > maxBytes) throw tooLarge();
      parts.push(part);
    }
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw clientGone();
  }
  return Buffer.concat(parts);
}

/** The JSON content of a request. @throws ApiError 400, 413, 415 */
export async function jsonOf(context: Context, maxBytes: number): Promise<unknown> {
  requireType(context, 'application/json');
  const text = (await contentOf(context, maxBytes)).toString();
  try {
    return JSON.parse(text);
  } catch {
    const found = `${text.length} characters that are none`;
    throw new ApiError(400, 'invalid_json', `expected JSON, found ${found}; check the content`);
  }
}

/** @throws ApiError 415 */
export function requireType({ req }: Context, type: string): void {
  const given = req.header('content-type') ?? '';
  if (given.split(';')[0].trim().toLowerCase() === type) return;
  const found = given === '' ? 'no type' : given;
  throw new ApiError(415, 'invalid_content_type', `expected content of type ${type}, found ${found}; say so`);
}
