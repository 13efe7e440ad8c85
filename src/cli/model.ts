import { BUNDLED_MODEL, type ModelFolder } from '../model/modelFolder.js';
import { openModel } from '../model/openModel.js';
import { bytes } from '../pipeline/bytes.js';
import { warn, type Progress } from './progress.js';

/** How to report the download of a model, and how to abort it. */
export interface FindModelOptions {
  readonly progress: Progress | undefined;
  /** Whether to print warnings and, without a line of progress, that a model is being downloaded. */
  readonly verbose: boolean;
  readonly signal: AbortSignal;
}

/**
 * Opens the model that `--model` names and downloads it from the hub if necessary, with progress on the terminal.
 * @param model default: the bundled model
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID, DOWNLOAD_FAILED
 */
export async function findModel(
  model: string | undefined,
  { progress, verbose, signal }: FindModelOptions,
): Promise<ModelFolder> {
  let announced = !verbose;
  const found = await openModel(model ?? BUNDLED_MODEL, {
    onProgress: ({ file, received, total }) => {
      if (progress) progress.setState(`downloading ${file}, ${bytes(total)} in all`, received / total);
      else if (!announced) process.stderr.write(`srds: downloading ${bytes(total)} of ${model ?? ''}\n`);
      announced = true;
    },
    onWarning: (message) => {
      if (verbose) warn(message, progress);
    },
    signal,
  });
  progress?.setState('loading the model');
  return found;
}
