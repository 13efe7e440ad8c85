import { randomUUID } from 'node:crypto';
import { openSync, type Stats } from 'node:fs';
import { access, constants, mkdtemp, readlink, realpath, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { dirname, extname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, SrdsError, systemCode } from '../errors.js';
import { makeFolder } from '../files/makeFolder.js';

/** A file to write. */
export interface OutputFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

const SEED = '{seed}';

/**
 * Paths of images by seed.
 * @param out a .png file, a folder, or a pattern with `{seed}`; default: a name from the prompt, in the working directory
 * @param several whether there is more than one image, so that file names need the seed
 * @param first seed of the first image, whose path is checked
 * @throws SrdsError INVALID_OPTION if `out` is another kind of file, OUTPUT_FAILED if it cannot be written
 */
export async function imagePath(
  out: string | undefined,
  prompt: string,
  several: boolean,
  first = 0n,
): Promise<(seed: bigint) => string> {
  const pattern = await patternOf(out, `${slug(prompt)}-seed${SEED}.png`);
  const extension = extname(pattern);
  const template =
    several && !pattern.includes(SEED)
      ? `${pattern.slice(0, pattern.length - extension.length)}-${SEED}${extension}`
      : pattern;
  const path = (seed: bigint) => template.replaceAll(SEED, String(seed));
  await checkWritable(path(first));
  return path;
}

async function patternOf(out: string | undefined, name: string): Promise<string> {
  if (out === undefined) return name;
  if (out === '-') throw notAnImageFile(out);
  const stats = await statIfThere(out);
  if (stats?.isDirectory() || /[/\\]$/.test(out)) return join(out, name);
  if (stats && !stats.isFile()) return out;
  const extension = extname(out).toLowerCase();
  if (extension === '.png') return out;
  if (extension === '' && !stats && out !== '') return join(out, name);
  throw notAnImageFile(out);
}

function notAnImageFile(out: string): SrdsError {
  return new SrdsError(
    'INVALID_OPTION',
    'a .png file, a folder or a pattern with {seed} for --out',
    `"${out}"`,
    'name the file *.png',
  );
}

/** The start of a prompt as a file name. */
function slug(prompt: string): string {
  const words = prompt
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, '-')
    .replace(/^-/, '');
  return Array.from(words).slice(0, 40).join('').replace(/-$/, '') || 'image';
}

/**
 * Checks that a file can be created or replaced, so that a run fails before its work and not after it.
 * @throws SrdsError OUTPUT_FAILED
 */
export async function checkWritable(path: string): Promise<void> {
  try {
    const stats = await statIfThere(path);
    if (path === '') throw new Error('an empty name');
    if (stats?.isDirectory()) throw new Error('it is a folder');
    if (stats && !stats.isFile()) await access(path, constants.W_OK);
    else await checkFolder(dirname(await targetOf(path)));
  } catch (error) {
    throw failed(path, error);
  }
}

/** The absolute path of the file that a path means: of the target of a symbolic link, which need not exist. */
async function targetOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
    const link = await readlink(path).catch(() => undefined);
    return link === undefined ? resolve(path) : targetOf(resolve(dirname(path), link));
  }
}

async function statIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (path === '' || systemCode(error) === 'ENOENT') return undefined;
    throw failed(path, error);
  }
}

/** Checks that files can be created in a folder, or in its nearest existing parent. */
async function checkFolder(folder: string): Promise<void> {
  const stats = await statIfThere(folder);
  if (stats === undefined) return checkFolder(dirname(folder));
  if (!stats.isDirectory()) throw new Error(`${folder} is not a folder`);
  // Some folders, such as those below /proc, only claim to be writable.
  await rmdir(await mkdtemp(join(folder, '.srds-')));
}

/**
 * Writes files all or none: each goes to a temporary file in its folder, and all are renamed once all are complete. A
 * failure removes the temporary files and the folders that were made. Libraries for atomic writes handle one file at a time.
 * Symbolic links stay, and their targets are written.
 * @param signal ends waiting for the reader of a pipe
 * @throws SrdsError OUTPUT_FAILED
 */
export async function writeFiles(files: readonly OutputFile[], signal?: AbortSignal): Promise<void> {
  const moves: { readonly from: string; readonly to: string }[] = [];
  const made: string[] = [];
  let path = '';
  try {
    for (const file of files) {
      path = file.path;
      const to = await targetOf(path);
      const folder = dirname(to);
      made.push(...(await makeFolder(folder)));
      const stats = await statIfThere(to);
      if (stats && !stats.isFile()) {
        await (stats.isFIFO() ? writePipe(to, file.bytes, signal) : writeFile(to, file.bytes));
        continue;
      }
      if (moves.some((move) => move.to === to)) {
        const remedy = 'give each option that names a file its own';
        throw new SrdsError('INVALID_OPTION', 'a file for each result', `${path} for two of them`, remedy);
      }
      const from = join(folder, `.srds-${randomUUID()}`);
      moves.push({ from, to });
      await writeFile(from, file.bytes);
    }
    for (const { from, to } of moves) {
      path = to;
      await rename(from, to);
    }
  } catch (error) {
    for (const { from } of moves) await rm(from, { force: true }).catch(() => undefined);
    for (const folder of made.reverse()) await removeIfEmpty(folder);
    throw failed(path, error);
  }
}

/** How often to look whether a pipe has a reader, in milliseconds. */
const READER_POLL_MS = 50;

/**
 * Writes to a named pipe. To open one waits for its reader, and a call that waits cannot be ended; so this polls.
 * @throws the signal's reason
 */
async function writePipe(path: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
  for (;;) {
    signal?.throwIfAborted();
    const fd = openIfRead(path);
    if (fd !== undefined) return pipeline(Readable.from([bytes]), new Socket({ fd, readable: false }), { signal });
    await delay(READER_POLL_MS, undefined, { signal });
  }
}

/** Opens a named pipe for writing. @returns undefined if nothing reads it */
function openIfRead(path: string): number | undefined {
  try {
    return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (systemCode(error) === 'ENXIO') return undefined;
    throw error;
  }
}

async function removeIfEmpty(folder: string): Promise<void> {
  // Another process may have put something there in the meantime.
  await rmdir(folder).catch(() => undefined);
}

function failed(path: string, error: unknown): SrdsError {
  if (error instanceof SrdsError) return error;
  return new SrdsError(
    'OUTPUT_FAILED',
    `to write ${path}`,
    messageOf(error),
    'choose another path, or free space or grant access there',
    { cause: error },
  );
}
