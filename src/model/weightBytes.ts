import type { GraphName } from './graphNames.js';
import type { ModelFolder } from './modelFolder.js';

/**
 * Bytes of the files of graphs: their .onnx files, and the files that hold the rest of the weights. A CPU takes twice as much for weights
 * that are stored in half precision.
 */
export function weightBytes({ described }: ModelFolder, names: readonly GraphName[]): number {
  return described
    .filter(({ name }) => names.includes(name))
    .reduce((sum, { description: { bytes } }) => sum + bytes, 0);
}
