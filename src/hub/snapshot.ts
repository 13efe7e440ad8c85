import { randomUUID } from 'node:crypto';
import { copyFile, readFile, readlink, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { getRepoFolderName } from '@huggingface/hub';
import { SrdsError, systemCode } from '../errors.js';
import { download, sizeOf, unwritable } from './download.js';
import { makeFolder } from './makeFolder.js';
import { lookUp, type RemoteFile } from './repository.js';
import type { Repository } from './name.js';
import type { HubSettings } from './settings.js';

/** Progress of a snapshot: bytes of all files that are fetched in this run. */
export interface HubProgress {
  readonly file: string;
  readonly received: number;
  readonly total: number;
}

/** What a snapshot is told. */
export interface SnapshotOptions {
  readonly settings: HubSettings;
  /** The files of a repository that are wanted. */
  readonly select: (paths: readonly string[]) => readonly string[];
  /** Further files, such as weights beside a graph, that those in the folder name; asked once the others are there. */
  readonly follow: (folder: string, paths: readonly string[]) => Promise<readonly string[]>;
  readonly onProgress?: ((progress: HubProgress) => void) | undefined;
  /** Called if the hub cannot be reached and what the cache has is used instead. */
  readonly onWarning?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Files that are fetched at once. */
const PARALLEL = 3;

/**
 * The folder of a repository in the cache that all Hugging Face tools share, with the wanted files fetched.
 * Source: huggingface_hub, snapshot_download and its cache layout: blobs named by their hash, and links to them.
 * @throws SrdsError DOWNLOAD_FAILED, MODEL_NOT_FOUND
 */
export async function snapshot(repository: Repository, options: SnapshotOptions): Promise<string> {
  const { settings, signal } = options;
  const storage = join(settings.cache, getRepoFolderName({ name: repository.name, type: 'model' }));
  const cached = await cachedSnapshot(storage, repository.revision);
  if (settings.offline) {
    if (cached !== undefined) return cached;
    throw new SrdsError(
      'MODEL_NOT_FOUND',
      `${repository.name}@${repository.revision} in the cache ${settings.cache}, since HF_HUB_OFFLINE is set`,
      'nothing',
      'run once without HF_HUB_OFFLINE',
    );
  }
  let found: Awaited<ReturnType<typeof lookUp>>;
  try {
    found = await lookUp(repository, settings, signal);
  } catch (error) {
    signal?.throwIfAborted();
    if (cached === undefined || !(error instanceof SrdsError) || error.code !== 'DOWNLOAD_FAILED') throw error;
    options.onWarning?.(`the hub cannot be reached, so the copy in the cache is used: ${error.found}`);
    return cached;
  }
  const { commit, files } = found;
  const folder = join(storage, 'snapshots', commit);
  const fetchAll = (paths: readonly string[]) =>
    bring(
      files.filter(({ path }) => paths.includes(path)),
      { ...options, repository, commit, storage, folder },
    );
  const paths = files.map(({ path }) => path);
  await fetchAll(options.select(paths));
  await fetchAll(await options.follow(folder, paths));
  const ref = join(storage, 'refs', repository.revision);
  if ((await readFile(ref, 'utf8').catch(() => '')) === commit) return folder;
  await orSay(ref, async () => {
    await makeFolder(dirname(ref));
    // Never half written: a revision that is there can be used.
    const beside = `${ref}.${randomUUID()}`;
    await writeFile(beside, commit);
    await rename(beside, ref);
  });
  return folder;
}

/** The folder of a revision, by its name or its commit, that is there already. */
async function cachedSnapshot(storage: string, revision: string): Promise<string | undefined> {
  const commit = (await readFile(join(storage, 'refs', revision), 'utf8').catch(() => revision)).trim();
  if (!/^[0-9a-f]{40}$/.test(commit)) return undefined;
  const folder = join(storage, 'snapshots', commit);
  const stats = await stat(folder).catch(() => undefined);
  return stats?.isDirectory() ? folder : undefined;
}

interface Bringing extends SnapshotOptions {
  readonly repository: Repository;
  readonly commit: string;
  readonly storage: string;
  readonly folder: string;
}

async function bring(files: readonly RemoteFile[], options: Bringing): Promise<void> {
  // Files with the same content, such as SDXL's two vocabularies, are one.
  const missing: RemoteFile[] = [];
  for (const file of new Map(files.map((one) => [one.hash, one])).values()) {
    if ((await sizeOf(blobOf(file, options))) !== file.size) missing.push(file);
  }
  const total = missing.reduce((sum, { size }) => sum + size, 0);
  const received = new Map<string, number>();
  const waiting = [...missing];
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const work = async (): Promise<void> => {
    for (let file = waiting.shift(); file; file = waiting.shift()) {
      const { path } = file;
      const onProgress = (bytes: number): void => {
        received.set(path, bytes);
        const sum = [...received.values()].reduce((a, b) => a + b);
        options.onProgress?.({ file: path, received: sum, total });
      };
      await download(file, blobOf(file, options), { ...options, onProgress, signal });
    }
  };
  const workers = Array.from({ length: PARALLEL }, work);
  try {
    await Promise.all(workers);
  } catch (error) {
    stop.abort();
    await Promise.allSettled(workers);
    options.signal?.throwIfAborted();
    throw error;
  }
  for (const file of files) {
    await orSay(join(options.folder, file.path), () => link(file, options));
  }
}

/** Writes something, or says that it could not be written. */
async function orSay(path: string, write: () => Promise<void>): Promise<void> {
  await write().catch((error: unknown) => {
    throw unwritable(path, error);
  });
}

function blobOf({ hash }: RemoteFile, { storage }: Bringing): string {
  return join(storage, 'blobs', hash);
}

async function link(file: RemoteFile, options: Bringing): Promise<void> {
  const at = join(options.folder, file.path);
  const blob = blobOf(file, options);
  const target = relative(dirname(at), blob);
  if ((await readlink(at).catch(() => undefined)) === target) return;
  await makeFolder(dirname(at));
  if ((await sizeOf(at)) === file.size) return;
  await rm(at, { force: true });
  await symlink(target, at).catch((error: unknown) => {
    // Another process made it meanwhile.
    if (systemCode(error) === 'EEXIST') return undefined;
    // Where links are not allowed, as on some Windows systems, the file itself is put there.
    if (systemCode(error) === 'EPERM') return copyFile(blob, at);
    throw error;
  });
}
