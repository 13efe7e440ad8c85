import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { App } from './app.js';

/** A file of the page, in memory: nothing that a request says ever leads to the file system. */
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

/** The page as it was built, by path. */
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

/** The page at /, and what it loads, whose names change with their content. */
export function pageRoutes(app: App, page: ReadonlyMap<string, PageFile>): void {
  for (const [path, { bytes, type }] of page) {
    const cache = path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache';
    const answer = () => new Response(bytes, { headers: { 'content-type': type, 'cache-control': cache } });
    app.get(path, answer);
    if (path === '/index.html') app.get('/', answer);
  }
}
