import { stat } from 'node:fs/promises';
import type { ModelFolder } from '../model/modelFolder.js';

/** What identifies the file of a model's network, as a key of what is kept about it; undefined for a network without a file here. */
export async function networkIdentity({ graphs, family }: ModelFolder): Promise<readonly unknown[] | undefined> {
  const path = graphs[family.network] ?? '';
  const stats = await stat(path).catch(() => undefined);
  return stats && [path, stats.size, stats.mtimeMs];
}
