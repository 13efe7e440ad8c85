import type { Context } from 'hono';
import type { z } from 'zod';
import { expectedBy, issueOf, shortened } from '../errors.js';
import { ApiError, clientGone } from './apiError.js';

/**
 * Checks a request's content.
 * @throws ApiError 400
 */
export function checked<Schema extends z.ZodType>(schema: Schema, content: unknown): z.output<Schema> {
  const { success, data, error } = schema.safeParse(content);
  if (success) return data;
  const issue = tightest(error.issues);
  const param =
    issue.code === 'unrecognized_keys' ? issue.keys[0] : issue.path.length > 0 ? String(issue.path[0]) : null;
  throw new ApiError(400, 'invalid_parameter', `${problemOf(issue, content)}; see /openapi.json`, param);
}

/** The first issue; of several limits of one value, this server's, which is the lowest. */
function tightest([first, ...others]: readonly z.core.$ZodIssue[]): z.core.$ZodIssue {
  const at = first.path.join();
  const limits = others.filter((one) => one.code === 'too_big' && one.path.join() === at);
  return first.code === 'too_big' ? (limits.at(-1) ?? first) : first;
}

/** Longest value that an error quotes, in characters. */
const MAX_QUOTED = 40;
const TYPES: Readonly<Record<string, string>> = { int: 'a whole number', array: 'a list', object: 'an object' };

/** What was expected, and what was found. */
function problemOf(issue: z.core.$ZodIssue, content: unknown): string {
  const expected = expectedOf(issue);
  if (expected === undefined) return `expected a valid request, found ${issueOf(issue)}`;
  const { path } = issue;
  const value = path.reduce<unknown>(
    (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
    content,
  );
  const found = value === undefined ? 'none' : shortened(textOf(value), MAX_QUOTED);
  return `expected ${expected} for ${path.length > 0 ? path.join('.') : 'the request'}, found ${found}`;
}

/** A value as JSON, or what it is if its JSON may be long: a file has 12 characters for each byte. */
function textOf(value: unknown): string {
  if (value instanceof Uint8Array) return 'a file';
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 2 * MAX_QUOTED));
  if (Array.isArray(value)) return value.length > 0 ? `a list of ${value.length}` : '[]';
  if (typeof value === 'object' && value !== null) return 'an object';
  return JSON.stringify(value);
}

/** What a schema expects; undefined where its own message says more. */
function expectedOf(issue: z.core.$ZodIssue): string | undefined {
  const units: Readonly<Record<string, string>> = { string: ' characters', array: ' entries' };
  switch (issue.code) {
    case 'too_big':
      return `${issue.inclusive === false ? 'less than' : 'at most'} ${issue.maximum}${units[issue.origin] ?? ''}`;
    case 'too_small':
      return `${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}${units[issue.origin] ?? ''}`;
    case 'invalid_type':
      return TYPES[issue.expected] ?? `a ${issue.expected}`;
    case 'invalid_value':
      return `one of ${issue.values.join(', ')}`;
    default:
      return expectedBy(issue.message);
  }
}

/**
 * Reads a request's content up to a limit. Hono's body-limit rebuilds a chunked request, which fails with the Node adapter unless that
 * replaces the process's global Request.
 * @throws ApiError 413, 499
 */
export async function contentOf({ req }: Context, maxBytes: number): Promise<Buffer> {
  if (Number(req.header('content-length') ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const part of (req.raw.body ?? []) as AsyncIterable<Uint8Array>) {
      size += part.length;
      if (size > maxBytes) throw tooLarge(maxBytes);
      parts.push(part);
    }
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw clientGone();
  }
  return Buffer.concat(parts);
}

function tooLarge(maxBytes: number): ApiError {
  const limit = maxBytes / 2 ** 20;
  return new ApiError(413, 'request_too_large', `expected at most ${limit} MiB, found more; send less`);
}

/** A field with an integer of many digits. Quotes inside a string are escaped, so no string contains one. */
const LARGE_INTEGER = /([{,]\s*"[^"\\]*"\s*:\s*)(-?[1-9]\d{15,})(?=\s*[,}])/g;

function quoted(field: string, start: string, digits: string): string {
  return Number.isSafeInteger(Number(digits)) ? field : `${start}"${digits}"`;
}

/** Reads a request's JSON content. Fields with integers that JavaScript would round are text. @throws ApiError 400, 413, 415, 499 */
export async function jsonOf(context: Context, maxBytes: number): Promise<unknown> {
  requireType(context, 'application/json');
  const text = (await contentOf(context, maxBytes)).toString();
  try {
    return JSON.parse(text.replace(LARGE_INTEGER, quoted));
  } catch {
    const found = `${text.length} characters of something else`;
    throw new ApiError(400, 'invalid_json', `expected JSON, found ${found}; check the content`);
  }
}

/** @throws ApiError 415 */
export function requireType({ req }: Context, type: string): void {
  const given = req.header('content-type') ?? '';
  if (given.split(';')[0].trim().toLowerCase() === type) return;
  const found = given === '' ? 'no type' : given;
  throw new ApiError(
    415,
    'invalid_content_type',
    `expected content of type ${type}, found ${found}; set the Content-Type header`,
  );
}
