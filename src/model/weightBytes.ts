import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { GraphName } from './graphNames.js';
import type { ModelFolder } from './modelFolder.js';

/**
 * Bytes of the files of graphs: their .onnx files, and the files beside them that hold the rest of the weights. A CPU takes twice as
 * much for weights that are stored in half precision.
 */
export async function weightBytes({ graphs }: ModelFolder, names: readonly GraphName[]): Promise<number> {
  const sizes = await Promise.all(names.map((name) => bytesOf(graphs[name])));
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function bytesOf(path: string | undefined): Promise<number> {
  if (path === undefined) return 0;
  const folder = dirname(path);
  const names = await readdir(folder).catch(() => []);
  const others = names.filter((name) => name.endsWith('.onnx') && name !== basename(path));
  const own = names.filter(
    (name) =>
      !name.endsWith('.json') &&
      !others.some((other) => name.startsWith(other) || name.startsWith(other.replace('.onnx', '.'))),
  );
  const sizes = await Promise.all(
    own.map(async (name) => (await stat(join(folder, name)).catch(() => undefined))?.size ?? 0),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
