import { stat } from 'node:fs/promises';

/** A file's path, size and time of change, as a part of keys of what is kept about it; undefined if there is none. */
export async function fileStamp(path: string): Promise<readonly unknown[] | undefined> {
  const stats = await stat(path).catch(() => undefined);
  return stats && [path, stats.size, stats.mtimeMs];
}
