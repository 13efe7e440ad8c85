import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Hono } from 'hono';
import { etag } from 'hono/etag';
import { fixedAnswer, sendFixed, type FixedAnswer } from './fixedAnswer.js';

const TYPES: Readonly<Record<string, string | undefined>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
const BUILT = fileURLToPath(new URL('../web', import.meta.url));

/** Names of such files contain a hash of the content, so browsers may keep them. */
const HASHED = '/assets/';

/** Reads the built page into memory, so that no request reaches the file system. @returns its files by path */
export async function readPage(): Promise<ReadonlyMap<string, FixedAnswer>> {
  const names = await readdir(BUILT, { recursive: true });
  const files = names.map(async (name): Promise<[string, FixedAnswer][]> => {
    const type = TYPES[extname(name)];
    if (type === undefined) return [];
    const bytes = new Uint8Array(await readFile(join(BUILT, name)));
    const path = `/${name.replaceAll('\\', '/')}`;
    const cache = path.startsWith(HASHED) ? 'public, max-age=31536000, immutable' : 'no-cache';
    return [[path, await fixedAnswer(bytes, type, cache)]];
  });
  return new Map((await Promise.all(files)).flat());
}

/** Routes of the page at / and of its files. */
export function pageRoutes(page: ReadonlyMap<string, FixedAnswer>): Hono {
  const routes = new Hono();
  for (const [path, file] of page) {
    routes.get(path, etag(), sendFixed(file));
    if (path === '/index.html') routes.get('/', etag(), sendFixed(file));
  }
  return routes;
}
