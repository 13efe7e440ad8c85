import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { makeFolder } from './makeFolder.js';

/** JSON files in the user's cache, in a folder for each kind. */
export type CacheKind = 'curves' | 'convergence' | 'comparisons';

/** Reads a file. @param key values that the content depends on @returns undefined if there is none that can be read */
export async function readCache(kind: CacheKind, key: readonly unknown[]): Promise<unknown> {
  try {
    return JSON.parse(await readFile(fileOf(kind, key), 'utf8')) as unknown;
  } catch {
    return undefined;
  }
}

/** Writes a file. A cache that cannot be written is no error. */
export async function writeCache(kind: CacheKind, key: readonly unknown[], content: object): Promise<void> {
  await makeFolder(folderOf(kind))
    .then(() => writeFileAtomic(fileOf(kind, key), `${JSON.stringify(content, undefined, 2)}\n`))
    .catch(() => undefined);
}

/** A name for a key. */
export function nameOf(key: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 32);
}

function fileOf(kind: CacheKind, key: readonly unknown[]): string {
  return join(folderOf(kind), `${nameOf(key)}.json`);
}

function folderOf(kind: CacheKind): string {
  const given = process.env.XDG_CACHE_HOME ?? '';
  // The XDG base directory specification ignores relative paths.
  return join(isAbsolute(given) ? given : join(homedir(), '.cache'), 'srds', kind);
}
