import { randomUUID } from 'node:crypto';
import { copyFile, readFile, readlink, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { getRepoFolderName } from '@huggingface/hub';
import pMap from 'p-map';
import writeFileAtomic from 'write-file-atomic';
import { SrdsError, systemCode } from '../errors.js';
import { download, sizeOf, unwritable } from './download.js';
import { makeFolder } from '../files/makeFolder.js';
import { listRepository, type RemoteFile } from './repository.js';
import type { Repository } from './name.js';
import type { Selection } from './selection.js';
import type { HubSettings } from './settings.js';
import { openTransport, type Transport } from './transport.js';

/** Progress of a download: bytes over all files of this run. */
export interface HubProgress {
  /** Path of the file that the latest bytes belong to. */
  readonly file: string;
  readonly received: number;
  readonly total: number;
}

/** Which files to download, and how to report and abort it. */
export interface SnapshotOptions {
  readonly settings: HubSettings;
  /** Choose the files to download from the paths of a repository. Each is called when the files of those before it are in the folder. */
  readonly selections: readonly Selection[];
  readonly onProgress?: ((progress: HubProgress) => void) | undefined;
  /** Called if the hub is unreachable and the cached copy is used instead. */
  readonly onWarning?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Number of parallel downloads. */
const PARALLEL = 3;

/**
 * Downloads files of a repository into the cache that all Hugging Face tools share. Files are stored as blobs named by their
 * hash, and a snapshot's folder links to them. Source: huggingface_hub, snapshot_download and its cache layout.
 * @returns path of the snapshot's folder
 * @throws SrdsError DOWNLOAD_FAILED, MODEL_NOT_FOUND
 * @example
 * const repository = parseRepository('owner/name@main');
 * const settings = await hubSettings();
 * const json: Selection = async (paths) => paths.filter((path) => path.endsWith('.json'));
 * if (repository) await snapshot(repository, { settings, selections: [json] });
 */
export async function snapshot(repository: Repository, options: SnapshotOptions): Promise<string> {
  const { settings } = options;
  const storage = join(settings.cache, getRepoFolderName({ name: repository.name, type: 'model' }));
  const cached = await cachedSnapshot(storage, repository.revision);
  if (settings.offline) {
    if (cached !== undefined) return cached;
    throw new SrdsError(
      'MODEL_NOT_FOUND',
      `${repository.name}@${repository.revision} in the cache ${settings.cache}, since HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set`,
      'nothing',
      'run once without it',
    );
  }
  const transport = openTransport(settings.proxies);
  try {
    return await fetchSnapshot(repository, { ...options, transport, storage, cached });
  } finally {
    await transport.close();
  }
}

interface SnapshotContext extends SnapshotOptions {
  readonly transport: Transport;
  /** The repository's folder in the cache. */
  readonly storage: string;
  /** The folder of the revision as it was fetched before; undefined if there is none. */
  readonly cached: string | undefined;
}

async function fetchSnapshot(repository: Repository, options: SnapshotContext): Promise<string> {
  const { settings, transport, storage, cached, signal } = options;
  let found: Awaited<ReturnType<typeof listRepository>>;
  try {
    found = await listRepository(repository, settings, transport, signal);
  } catch (error) {
    signal?.throwIfAborted();
    if (cached === undefined || !(error instanceof SrdsError) || error.code !== 'DOWNLOAD_FAILED') throw error;
    options.onWarning?.(`the hub cannot be reached, so the copy in the cache is used: ${error.found}`);
    return cached;
  }
  const { commit, files } = found;
  const folder = join(storage, 'snapshots', commit);
  const downloadFiles = (paths: readonly string[]) =>
    downloadAndLink(
      files.filter(({ path }) => paths.includes(path)),
      { ...options, repository, commit, folder },
    );
  const paths = files.map(({ path }) => path);
  for (const select of options.selections) await downloadFiles(await select(paths, folder));
  const ref = join(storage, 'refs', repository.revision);
  if ((await readFile(ref, 'utf8').catch(() => '')) === commit) return folder;
  await orUnwritable(ref, async () => {
    await makeFolder(dirname(ref));
    // Other processes use a revision as soon as its file exists.
    await writeFileAtomic(ref, commit);
  });
  return folder;
}

/** The cached folder of a revision, given by name or commit; undefined if there is none. */
async function cachedSnapshot(storage: string, revision: string): Promise<string | undefined> {
  const commit = (await readFile(join(storage, 'refs', revision), 'utf8').catch(() => revision)).trim();
  if (!/^[0-9a-f]{40}$/.test(commit)) return undefined;
  const folder = join(storage, 'snapshots', commit);
  const stats = await stat(folder).catch(() => undefined);
  return stats?.isDirectory() ? folder : undefined;
}

/** A snapshot that is being filled. */
interface SnapshotTarget extends SnapshotContext {
  readonly repository: Repository;
  readonly commit: string;
  readonly folder: string;
}

async function downloadAndLink(files: readonly RemoteFile[], options: SnapshotTarget): Promise<void> {
  // Files with the same content, such as SDXL's two vocabularies, are one blob.
  const missing: RemoteFile[] = [];
  for (const file of new Map(files.map((one) => [one.hash, one])).values()) {
    if ((await sizeOf(blobOf(file, options))) !== file.size) missing.push(file);
  }
  const total = missing.reduce((sum, { size }) => sum + size, 0);
  const received = new Map<string, number>();
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const downloads: Promise<void>[] = [];
  const start = (file: RemoteFile): Promise<void> => {
    const { path } = file;
    const onProgress = (bytes: number): void => {
      received.set(path, bytes);
      const sum = [...received.values()].reduce((a, b) => a + b);
      options.onProgress?.({ file: path, received: sum, total });
    };
    const downloading = download(file, blobOf(file, options), { ...options, onProgress, signal });
    downloads.push(downloading);
    return downloading;
  };
  try {
    await pMap(missing, start, { concurrency: PARALLEL });
  } catch (error) {
    // The other downloads must release their locks.
    stop.abort();
    await Promise.allSettled(downloads);
    options.signal?.throwIfAborted();
    throw error;
  }
  for (const file of files) {
    await orUnwritable(join(options.folder, file.path), () => link(file, options));
  }
}

/** Writes to the cache. @throws SrdsError DOWNLOAD_FAILED if that fails */
async function orUnwritable(path: string, write: () => Promise<void>): Promise<void> {
  await write().catch((error: unknown) => {
    throw unwritable(path, error);
  });
}

function blobOf({ hash }: RemoteFile, { storage }: SnapshotTarget): string {
  return join(storage, 'blobs', hash);
}

async function link(file: RemoteFile, options: SnapshotTarget): Promise<void> {
  const at = join(options.folder, file.path);
  const blob = blobOf(file, options);
  const target = relative(dirname(at), blob);
  if ((await readlink(at).catch(() => undefined)) === target) return;
  await makeFolder(dirname(at));
  if ((await sizeOf(at)) === file.size) return;
  // Another process may read the file already, so it is replaced at once.
  const replacement = `${at}.${randomUUID()}`;
  try {
    // Some Windows systems do not allow links, so the file is copied.
    await symlink(target, replacement).catch(async (error: unknown) => {
      if (systemCode(error) !== 'EPERM') throw error;
      await copyFile(blob, replacement);
    });
    await rename(replacement, at);
  } catch (error) {
    await rm(replacement, { force: true }).catch(() => undefined);
    throw error;
  }
}
