import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemCode } from '../errors.js';

/**
 * Makes a folder and its missing parents. Node 20's recursive `mkdir` is not used because it never returns on a file system
 * that always answers ENOENT, as /proc does.
 * @returns the folders that were made, the outermost first
 * @throws Error of the system if a folder cannot be made
 */
export async function makeFolder(path: string): Promise<string[]> {
  const parent = dirname(path);
  const there = parent === path || (await stat(parent).catch(() => undefined)) !== undefined;
  const above = there ? [] : await makeFolder(parent);
  try {
    await mkdir(path);
    return [...above, path];
  } catch (error) {
    if (systemCode(error) === 'EEXIST' && (await stat(path)).isDirectory()) return above;
    throw error;
  }
}
