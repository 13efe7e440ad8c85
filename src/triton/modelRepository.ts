import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { constants, copyFile, mkdir, readdir, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { messageOf, SrdsError, systemCode } from '../errors.js';
import { makeFolder } from '../files/makeFolder.js';

/** A model of a repository: its files, by their paths in its folder. */
export interface RepositoryModel {
  readonly name: string;
  /** Files to write. */
  readonly written: ReadonlyMap<string, string | Uint8Array>;
  /** Files to copy, with the paths of their originals. */
  readonly copied: ReadonlyMap<string, string>;
}

/** How to write into a repository. */
export interface WriteOptions {
  /** Whether to write into a folder that is not empty, and in place of a model of that name. */
  readonly force: boolean;
  readonly signal: AbortSignal;
}

/**
 * Adds a model to a model repository, all of it or nothing: it becomes visible by one renaming. Other models stay.
 * @param repository folder, which is made if necessary
 * @returns the folder of the model
 * @throws SrdsError OUTPUT_FAILED; the reason of the signal
 */
export async function addModel(
  repository: string,
  model: RepositoryModel,
  { force, signal }: WriteOptions,
): Promise<string> {
  const root = resolve(repository);
  const target = join(root, model.name);
  const unfinished = join(root, `.srds-${randomUUID()}`);
  const made: string[] = [];
  try {
    const entries = await entriesOf(root);
    if (entries.length > 0 && !force) throw occupied(repository, entries, model.name);
    made.push(...(await makeFolder(root)));
    await mkdir(unfinished);
    for (const [path, content] of model.written) await writeFile(await parentMade(join(unfinished, path)), content);
    for (const [path, original] of model.copied) await copy(original, await parentMade(join(unfinished, path)), signal);
    signal.throwIfAborted();
    await replace(target, unfinished);
    return target;
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true }).catch(() => undefined);
    for (const folder of made.reverse()) await rmdir(folder).catch(() => undefined);
    if (error instanceof SrdsError || signal.aborted) throw error;
    const remedy = 'choose another folder, or free space or grant access there';
    throw new SrdsError('OUTPUT_FAILED', `to write ${target}`, messageOf(error), remedy, { cause: error });
  }
}

/** Content of a folder; nothing if there is none. */
async function entriesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

function occupied(folder: string, entries: readonly string[], name: string): SrdsError {
  const found = entries.length === 1 ? entries[0] : `${entries.length} entries`;
  const what = entries.includes(name) ? `replaces ${name}` : `adds ${name}`;
  return new SrdsError('OUTPUT_FAILED', `an empty folder, or none, at ${folder}`, found, `--force ${what} there`);
}

async function parentMade(path: string): Promise<string> {
  await makeFolder(dirname(path));
  return path;
}

/** Copies a file: where the file system can, its blocks are shared until one of both changes. */
async function copy(from: string, to: string, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const isCloned = await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE).then(
    () => true,
    () => false,
  );
  // Unlike copyFile, a stream can be aborted within a file of many gigabytes.
  if (!isCloned) await pipeline(createReadStream(from), createWriteStream(to), { signal });
}

/** Moves a finished folder to its place. If that fails, what was there stays. */
async function replace(target: string, finished: string): Promise<void> {
  const isThere = (await stat(target).catch(() => undefined)) !== undefined;
  if (!isThere) return rename(finished, target);
  const previous = `${finished}-previous`;
  await rename(target, previous);
  try {
    await rename(finished, target);
  } catch (error) {
    await rename(previous, target);
    throw error;
  }
  await rm(previous, { recursive: true, force: true });
}
