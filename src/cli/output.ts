import { randomUUID } from 'node:crypto';
import type { Stats } from 'node:fs';
import { access, constants, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { dirname, extname, join, resolve } from 'node:path';
import { messageOf, SrdsError, systemCode } from '../errors.js';
import { makeFolder } from '../hub/makeFolder.js';

/** A file to be written. */
export interface OutputFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

const SEED = '{seed}';

/**
 * Where the image of a seed goes.
 * @param out a .png file, a folder, or a pattern with `{seed}`; default: a name made of the prompt, in this folder
 * @param several whether there is more than one image, so that each needs a name of its own
 * @throws SrdsError INVALID_OPTION if it is a file of another kind, OUTPUT_FAILED if nothing can be written there
 */
export async function imagePath(
  out: string | undefined,
  prompt: string,
  several: boolean,
): Promise<(seed: bigint) => string> {
  const pattern = await patternOf(out, `${slug(prompt)}-seed${SEED}.png`);
  const extension = extname(pattern);
  const template =
    several && !pattern.includes(SEED)
      ? `${pattern.slice(0, pattern.length - extension.length)}-${SEED}${extension}`
      : pattern;
  const path = (seed: bigint) => template.replaceAll(SEED, String(seed));
  await checkWritable(path(0n));
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
 * Checks, before any work is done, that a file could be created or replaced.
 * @throws SrdsError OUTPUT_FAILED
 */
export async function checkWritable(path: string): Promise<void> {
  try {
    const stats = await statIfThere(path);
    if (path === '') throw new Error('an empty name');
    if (stats?.isDirectory()) throw new Error('it is a folder');
    if (stats && !stats.isFile()) await access(path, constants.W_OK);
    else await checkFolder(dirname(resolve(path)));
  } catch (error) {
    throw failed(path, error);
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

/** That files could be created in a folder, which may have to be made. */
async function checkFolder(folder: string): Promise<void> {
  const stats = await statIfThere(folder);
  if (stats === undefined) return checkFolder(dirname(folder));
  if (!stats.isDirectory()) throw new Error(`${folder} is no folder`);
  await access(folder, constants.W_OK | constants.X_OK);
}

/**
 * Writes files so that none is ever half written: each is written beside its place, and moved there when all are whole.
 * @throws SrdsError OUTPUT_FAILED
 */
export async function writeFiles(files: readonly OutputFile[]): Promise<void> {
  const moves: { readonly from: string; readonly to: string }[] = [];
  const made: string[] = [];
  let path = '';
  try {
    for (const file of files) {
      path = file.path;
      const folder = dirname(resolve(path));
      made.push(...(await makeFolder(folder)));
      const stats = await statIfThere(path);
      if (stats && !stats.isFile()) {
        await writeFile(path, file.bytes);
        continue;
      }
      if (moves.some(({ to }) => resolve(to) === resolve(path))) throw new Error('two results for the same file');
      const from = join(folder, `.srds-${randomUUID()}`);
      moves.push({ from, to: path });
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

async function removeIfEmpty(folder: string): Promise<void> {
  // Someone else may have put something there meanwhile.
  await rmdir(folder).catch(() => undefined);
}

function failed(path: string, error: unknown): SrdsError {
  if (error instanceof SrdsError) return error;
  return new SrdsError(
    'OUTPUT_FAILED',
    `to write ${path}`,
    messageOf(error),
    'choose another place, or make room or rights there',
    { cause: error },
  );
}
