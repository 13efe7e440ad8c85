import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { fileRemedy, isMissing, messageOf, issueOf, SrdsError } from '../errors.js';
import { lfsPointerIn } from '../files/lfsPointer.js';

const RESTORE = 'export or download the model again';

/**
 * Reads a text file of a model folder.
 * @throws SrdsError MODEL_INVALID if it is missing, empty or unreadable
 */
export async function readText(folder: string, name: string): Promise<string> {
  const path = await requireFile(folder, name);
  return readFile(path, 'utf8').catch((error: unknown) => {
    throw unreadable(path, error);
  });
}

/** The error for a file of a model that the system does not let be read. */
export function unreadable(path: string, error: unknown): SrdsError {
  const expected = `a file ${path} that can be read`;
  return new SrdsError('MODEL_INVALID', expected, messageOf(error), fileRemedy(error, RESTORE), { cause: error });
}

/**
 * Reads a JSON file of a model folder and checks it against a schema.
 * @throws SrdsError MODEL_INVALID if it is missing or does not fit
 */
export async function readJson<Schema extends z.ZodType>(
  folder: string,
  name: string,
  schema: Schema,
): Promise<z.output<Schema>> {
  const parsed = schema.safeParse(await readUncheckedJson(folder, name));
  if (parsed.success) return parsed.data;
  const found = issueOf(parsed.error.issues[0]);
  throw new SrdsError('MODEL_INVALID', `a usable configuration in ${join(folder, name)}`, found, RESTORE);
}

async function readUncheckedJson(folder: string, name: string): Promise<unknown> {
  const text = await readText(folder, name);
  try {
    // Python writes NaN and infinities as bare words, which JSON does not allow.
    return JSON.parse(text.replace(/([:[,]\s*)(-?Infinity|NaN)(?=\s*[,}\]])/g, '$1"$2"'));
  } catch (error) {
    const found = lfsPointerIn(text) ?? messageOf(error);
    throw new SrdsError('MODEL_INVALID', `JSON in ${join(folder, name)}`, found, RESTORE, { cause: error });
  }
}

/** The error for a file that a folder lacks. @param code MODEL_NOT_FOUND if the folder is no model without it */
export function missingFile(code: 'MODEL_NOT_FOUND' | 'MODEL_INVALID', folder: string, name: string): SrdsError {
  const remedy = 'give --model the folder that optimum-cli export onnx wrote, with all of its files';
  return new SrdsError(code, `a diffusers folder of ONNX graphs in ${folder}`, `no ${name}`, remedy);
}

/** Whether a folder contains a file of that name. @throws SrdsError MODEL_INVALID if the system does not let that be seen */
export async function fileExists(folder: string, name: string): Promise<boolean> {
  const path = join(folder, name);
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    if (isMissing(error)) return false;
    throw unreadable(path, error);
  }
}

/**
 * The path of a file that must exist and have content.
 * @throws SrdsError MODEL_INVALID if it is missing, empty or no file
 */
export async function requireFile(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  const stats = await stat(path).catch((error: unknown) => {
    throw isMissing(error) ? missingFile('MODEL_INVALID', folder, name) : unreadable(path, error);
  });
  if (stats.isFile() && stats.size > 0) return path;
  const found = stats.isFile() ? 'an empty file' : 'something that is no file';
  throw new SrdsError('MODEL_INVALID', `a file ${path}`, found, RESTORE);
}
