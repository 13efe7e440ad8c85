import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { isMissing, SrdsError, systemCode } from '../errors.js';
import { parseRepository } from '../hub/name.js';
import type { HubProgress } from '../hub/snapshot.js';
import { BUNDLED_MODEL, readModelFolder, type ModelFolder } from './modelFolder.js';

/** How to report the download of a model, and how to abort it. */
export interface OpenModelOptions {
  /** Called with the progress of a download. */
  readonly onProgress?: ((progress: HubProgress) => void) | undefined;
  /** Called if the hub is unreachable and the cached copy is used. */
  readonly onWarning?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens a model folder or downloads a model of the Hugging Face hub. Only the files that are needed are downloaded, into the
 * cache that all Hugging Face tools share.
 * @param model path of a folder, the name of the bundled model, or `owner/name` or `owner/name@revision` on the hub; an existing path
 *   takes precedence
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID, DOWNLOAD_FAILED
 * @example
 * const model = await openModel('owner/name', { onProgress: ({ received, total }) => console.log(received / total) });
 */
export async function openModel(model: string, options: OpenModelOptions = {}): Promise<ModelFolder> {
  const isPath = await exists(model);
  if (!isPath && model === basename(BUNDLED_MODEL)) return readModelFolder(BUNDLED_MODEL);
  const repository = isPath ? undefined : parseRepository(model);
  if (!repository) return readModelFolder(model);
  const noFolder = (error: unknown): never => {
    if (!(error instanceof SrdsError) || error.code !== 'MODEL_NOT_FOUND') throw error;
    const found = `no folder ${model}, and ${error.found}`;
    throw new SrdsError(error.code, error.expected, found, error.remedy, { cause: error });
  };
  // The hub's client is slow to load, and few runs need it.
  const { modelFromHub } = await import('./modelFromHub.js');
  return modelFromHub(repository, options).catch(noFolder);
}

/** Error codes of what cannot be a path. */
const NO_PATH: readonly (string | undefined)[] = ['ENAMETOOLONG', 'EINVAL'];

async function exists(path: string): Promise<boolean> {
  // A path that may not be looked at is one all the same.
  return stat(path).then(
    () => true,
    (error: unknown) => !isMissing(error) && !NO_PATH.includes(systemCode(error)),
  );
}
