import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { brotliCompress, gzip } from 'node:zlib';
import type { Context, Handler } from 'hono';
import { accepts } from 'hono/accepts';

const compressors = { br: promisify(brotliCompress), gzip: promisify(gzip) };

/** An answer that stays the same while the server runs: compressed once, and in memory. */
export interface FixedAnswer {
  readonly type: string;
  readonly cache: string;
  /** Of the content, whatever its encoding. */
  readonly etag: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The content in each encoding that makes it smaller. */
  readonly encoded: Readonly<Record<string, Uint8Array<ArrayBuffer>>>;
}

/** @param cache value of the Cache-Control header */
export async function fixedAnswer(bytes: Uint8Array<ArrayBuffer>, type: string, cache: string): Promise<FixedAnswer> {
  const encoded: Record<string, Uint8Array<ArrayBuffer>> = {};
  for (const [name, compress] of Object.entries(compressors)) {
    const smaller = new Uint8Array(await compress(bytes));
    if (smaller.length < bytes.length) encoded[name] = smaller;
  }
  const etag = `W/"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
  return { type, cache, etag, bytes, encoded };
}

/** Answers with the smallest encoding that the client takes; hono's `etag` answers clients that have the content. */
export function sendFixed(answer: FixedAnswer | Promise<FixedAnswer>): Handler {
  return async (context) => {
    const { type, cache, etag, bytes, encoded } = await answer;
    const encoding = encodingFor(context, Object.keys(encoded));
    const headers = { 'content-type': type, 'cache-control': cache, etag, vary: 'Accept-Encoding' };
    if (encoding === undefined) return new Response(bytes, { headers });
    return new Response(encoded[encoding], { headers: { ...headers, 'content-encoding': encoding } });
  };
}

/** The first of some encodings that a client takes; undefined if it takes none. */
function encodingFor(context: Context, supports: readonly string[]): string | undefined {
  const chosen = accepts(context, {
    header: 'Accept-Encoding',
    supports: [...supports],
    default: '',
    match: (accepted) => {
      const quality = (name: string) =>
        (accepted.find(({ type }) => type.toLowerCase() === name) ?? accepted.find(({ type }) => type === '*'))?.q ?? 0;
      return supports.find((name) => quality(name) > 0) ?? '';
    },
  });
  return chosen === '' ? undefined : chosen;
}
