import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Hono } from 'hono';

/** A file of the page. It is in memory, so no request reaches the file system. */
export interface PageFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly type: string;
}

const TYPES: Readonly<Record<string, string | undefined>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
const BUILT = fileURLToPath(new URL('../web', import.meta.url));

/** Reads the built page. @returns its files by path */
export async function readPage(): Promise<ReadonlyMap<string, PageFile>> {
  const names = await readdir(BUILT, { recursive: true });
  const files = names.map(async (name): Promise<[string, PageFile][]> => {
    const type = TYPES[extname(name)];
    if (type === undefined) return [];
    const bytes = new Uint8Array(await readFile(join(BUILT, name)));
    return [[`/${name.replaceAll('\\', '/')}`, { bytes, type }]];
  });
  return new Map((await Promise.all(files)).flat());
}

/** Routes of the page at / and of its files. Names below /assets/ contain a hash of the content, so browsers may keep those files. */
export function pageRoutes(page: ReadonlyMap<string, PageFile>): Hono {
  const routes = new Hono();
  for (const [path, { bytes, type }] of page) {
    const cache = path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache';
    const answer = () => new Response(bytes, { headers: { 'content-type': type, 'cache-control': cache } });
    routes.get(path, answer);
    if (path === '/index.html') routes.get('/', answer);
  }
  return routes;
}
