import { BUNDLED_MODEL, type ModelFolder } from '../pipeline/modelFolder.js';
import { openModel } from '../pipeline/openModel.js';
import type { Progress } from './progress.js';
import { bytes } from './values.js';

/** The model that `--model` names, fetched from the hub if need be, with its progress on the terminal. */
export async function findModel(
  model: string | undefined,
  {
    progress,
    warn,
    signal,
  }: {
    readonly progress?: Progress | undefined;
    readonly warn: (message: string) => void;
    readonly signal: AbortSignal;
  },
): Promise<ModelFolder> {
  const found = await openModel(model ?? BUNDLED_MODEL, {
    onProgress: ({ file, received, total }) =>
      progress?.doing(`fetching ${file}: ${bytes(received)} of ${bytes(total)} in all`),
    onWarning: warn,
    signal,
  });
  progress?.doing('loading the model');
  return found;
}
