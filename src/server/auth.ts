import { createHash, timingSafeEqual } from 'node:crypto';
import { ApiError } from './apiError.js';
import { isLoopback } from './config.js';

/** Whose requests they are where no keys are asked for. */
export const ANONYMOUS = 'anonymous';

/**
 * Tells who asks, by an `Authorization` header: `Bearer KEY`, or `Basic` with the key as password, as web UIs' tools send it.
 * @returns a name for the key that does not give it away
 * @throws ApiError 401
 */
export function authorize(header: string | undefined, keys: readonly string[]): string {
  if (keys.length === 0) return ANONYMOUS;
  const given = keyOf(header ?? '');
  if (given === undefined) throw refusal('an API key in an Authorization header, found none');
  const digest = sha256(given);
  // All are compared, in a time that says nothing of which fits or how far.
  const fits = keys.map((key) => timingSafeEqual(sha256(key), digest));
  if (!fits.includes(true)) throw refusal('a known API key, found another');
  return digest.toString('hex').slice(0, 12);
}

function keyOf(header: string): string | undefined {
  const [scheme, value] = header.split(' ', 2) as [string, string | undefined];
  if (value === undefined) return undefined;
  if (scheme.toLowerCase() === 'bearer') return value;
  if (scheme.toLowerCase() !== 'basic') return undefined;
  const pair = Buffer.from(value, 'base64').toString();
  return pair.includes(':') ? pair.slice(pair.indexOf(':') + 1) : undefined;
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function refusal(what: string): ApiError {
  return new ApiError(401, 'invalid_api_key', `expected ${what}; ask whoever runs the server for one`, null, {
    'www-authenticate': 'Bearer',
  });
}

/**
 * Whether a `Host` header names this machine: a page elsewhere whose name was made to lead here (DNS rebinding) says its own
 * name.
 */
export function namesLoopback(header: string | undefined): boolean {
  const name = (header ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  return isLoopback(name.toLowerCase());
}
