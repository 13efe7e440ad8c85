import { BUNDLED_MODEL, type ModelFolder } from '../pipeline/modelFolder.js';
import { openModel } from '../pipeline/openModel.js';
import type { Progress } from './progress.js';
import { bytes } from './bytes.js';

/** The model that `--model` names, fetched from the hub if need be, with its progress on the terminal. */
export async function findModel(
  model: string | undefined,
  {
    progress,
    say,
    warn,
    signal,
  }: {
    readonly progress?: Progress | undefined;
    /** Told once that something is fetched, where no progress is shown. */
    readonly say: (message: string) => void;
    readonly warn: (message: string) => void;
    readonly signal: AbortSignal;
  },
): Promise<ModelFolder> {
  let said = false;
  const found = await openModel(model ?? BUNDLED_MODEL, {
    onProgress: ({ file, received, total }) => {
      if (progress) progress.doing(`fetching ${file}: ${bytes(received)} of ${bytes(total)} in all`);
      else if (!said) say(`fetching ${bytes(total)} of ${model ?? ''}`);
      said = true;
    },
    onWarning: warn,
    signal,
  });
  progress?.doing('loading the model');
  return found;
}
