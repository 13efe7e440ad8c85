import { stat } from 'node:fs/promises';
import type { ModelFolder } from '../model/modelFolder.js';

/** What identifies the file of a model's network, as a key of what is kept about it; undefined for a network without a file here. */
export async function networkIdentity({ graphs }: ModelFolder): Promise<readonly unknown[] | undefined> {
  const unet = graphs.unet ?? '';
  const stats = await stat(unet).catch(() => undefined);
  return stats && [unet, stats.size, stats.mtimeMs];
}
