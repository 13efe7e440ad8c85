import type { Repository } from '../hub/name.js';
import { hubSettings } from '../hub/settings.js';
import { snapshot, type SnapshotOptions } from '../hub/snapshot.js';
import { FIRST_FILES, modelSelections } from './hubFiles.js';
import { readModelFolder, type ModelFolder } from './modelFolder.js';

/**
 * Downloads a model of the Hugging Face hub. Only the files that are needed are downloaded, into the shared cache.
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID, DOWNLOAD_FAILED
 */
export async function modelFromHub(
  repository: Repository,
  options: Pick<SnapshotOptions, 'onProgress' | 'onWarning' | 'signal'>,
): Promise<ModelFolder> {
  const folder = await snapshot(repository, {
    ...options,
    settings: await hubSettings(),
    selections: modelSelections(repository),
    // These are small and say what else there is to download, which is what the total is for.
    onProgress: (progress) => {
      if (!FIRST_FILES.includes(progress.file)) options.onProgress?.(progress);
    },
  });
  return readModelFolder(folder, repository.name);
}
