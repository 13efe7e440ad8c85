import { stat } from 'node:fs/promises';
import { SrdsError } from '../errors.js';
import { parseRepository } from '../hub/name.js';
import type { HubProgress } from '../hub/snapshot.js';
import { readModelFolder, type ModelFolder } from './modelFolder.js';

/** What finding a model is told. */
export interface OpenModelOptions {
  readonly onProgress?: ((progress: HubProgress) => void) | undefined;
  readonly onWarning?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export type { HubProgress };

/**
 * A model by the path of its folder or by its name on the Hugging Face hub, `owner/name` or `owner/name@revision`; from the
 * hub only the files that are needed are fetched, into the cache that all Hugging Face tools share.
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID, DOWNLOAD_FAILED
 */
export async function openModel(model: string, options: OpenModelOptions = {}): Promise<ModelFolder> {
  const repository = (await exists(model)) ? undefined : parseRepository(model);
  if (!repository) return readModelFolder(model);
  const noFolder = (error: unknown): never => {
    if (!(error instanceof SrdsError) || error.code !== 'MODEL_NOT_FOUND') throw error;
    const found = `no folder ${model}, and ${error.found}`;
    throw new SrdsError(error.code, error.expected, found, error.remedy, { cause: error });
  };
  // Few models are fetched, and what that takes is slow to load.
  const { modelFromHub } = await import('./modelFromHub.js');
  return modelFromHub(repository, options).catch(noFolder);
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
