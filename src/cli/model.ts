import { BUNDLED_MODEL, type ModelFolder } from '../model/modelFolder.js';
import { openModel } from '../model/openModel.js';
import { bytes } from './bytes.js';
import { warn, type Progress } from './progress.js';

/** How what happens meanwhile is told. */
export interface FindModelOptions {
  readonly progress: Progress | undefined;
  /** Whether to say warnings and, where no progress is shown, that something is fetched. */
  readonly talk: boolean;
  readonly signal: AbortSignal;
}

/** The model that `--model` names, fetched from the hub if need be, with its progress on the terminal. */
export async function findModel(
  model: string | undefined,
  { progress, talk, signal }: FindModelOptions,
): Promise<ModelFolder> {
  let said = !talk;
  const found = await openModel(model ?? BUNDLED_MODEL, {
    onProgress: ({ file, received, total }) => {
      if (progress) progress.doing(`fetching ${file}: ${bytes(received)} of ${bytes(total)} in all`);
      else if (!said) process.stderr.write(`srds: fetching ${bytes(total)} of ${model ?? ''}\n`);
      said = true;
    },
    onWarning: (message) => {
      if (talk) warn(message, progress);
    },
    signal,
  });
  progress?.doing('loading the model');
  return found;
}
