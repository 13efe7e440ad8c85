import { fileStamp } from '../files/fileStamp.js';
import type { ModelFolder } from '../model/modelFolder.js';

/** What identifies the file of a model's network, as a key of what is kept about it; undefined for a network without a file here. */
export async function networkIdentity({ graphs, family }: ModelFolder): Promise<readonly unknown[] | undefined> {
  return fileStamp(graphs[family.network] ?? '');
}
