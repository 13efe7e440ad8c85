import { createHash, timingSafeEqual } from 'node:crypto';
import { ApiError } from './apiError.js';

/** The client's name where no API key is required. */
export const ANONYMOUS = 'anonymous';

/**
 * Identifies a client by its `Authorization` header: `Bearer KEY`, or `Basic` with the key as password, as web UIs' tools send it.
 * Without one, by `x-api-key` or `api-key`, as clients of other providers send it.
 * @param keys the valid keys; if there are none, everyone is accepted
 * @returns a name for the key that does not reveal it
 * @throws ApiError 401
 */
export function authorize(headers: Headers, keys: readonly string[]): string {
  if (keys.length === 0) return ANONYMOUS;
  const given = keyOf(headers.get('authorization') ?? '') ?? headers.get('x-api-key') ?? headers.get('api-key');
  if (given === null) throw unauthorized('an API key in an Authorization header, found none');
  const digest = sha256(given);
  // Compares with every key, so that the time reveals nothing.
  const matches = keys.map((key) => timingSafeEqual(sha256(key), digest));
  if (!matches.includes(true)) throw unauthorized('a valid API key, found another');
  return digest.toString('hex').slice(0, 12);
}

/**
 * Identifies an operator, as `authorize` does a client.
 * @param keys of operators; if there are none, nobody is accepted
 * @throws ApiError 401, 403
 */
export function authorizeOperator(headers: Headers, keys: readonly string[]): string {
  if (keys.length > 0) return authorize(headers, keys);
  throw new ApiError(403, 'no_admin_keys', 'expected a server with keys of operators, found none; see --admin-key');
}

function keyOf(header: string): string | null {
  const [scheme, value] = header.split(' ', 2) as [string, string | undefined];
  if (value === undefined) return null;
  if (scheme.toLowerCase() === 'bearer') return value;
  if (scheme.toLowerCase() !== 'basic') return null;
  const pair = Buffer.from(value, 'base64').toString();
  return pair.includes(':') ? pair.slice(pair.indexOf(':') + 1) : null;
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function unauthorized(problem: string): ApiError {
  return new ApiError(401, 'invalid_api_key', `expected ${problem}; ask the server's operator for a key`, null, {
    'www-authenticate': 'Bearer',
  });
}
