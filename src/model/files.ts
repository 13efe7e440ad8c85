import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { messageOf, issueOf, SrdsError, systemCode } from '../errors.js';

const RESTORE = 'export or download the model again';

/**
 * Reads a text file of a model folder.
 * @throws SrdsError MODEL_INVALID if it is missing, empty or unreadable
 */
export async function readText(folder: string, name: string): Promise<string> {
  const path = await requireFile(folder, name);
  return readFile(path, 'utf8').catch((error: unknown) => {
    throw new SrdsError('MODEL_INVALID', `a file ${path}`, messageOf(error), RESTORE, { cause: error });
  });
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
    throw new SrdsError('MODEL_INVALID', `JSON in ${join(folder, name)}`, messageOf(error), RESTORE, { cause: error });
  }
}

/** The error for a file that a folder lacks. @param code MODEL_NOT_FOUND if the folder is no model without it */
export function missingFile(code: 'MODEL_NOT_FOUND' | 'MODEL_INVALID', folder: string, name: string): SrdsError {
  const remedy = 'give --model the folder that optimum-cli export onnx wrote, with all of its files';
  return new SrdsError(code, `a diffusers folder of ONNX graphs in ${folder}`, `no ${name}`, remedy);
}

/** Whether a folder contains a file of that name. */
export async function fileExists(folder: string, name: string): Promise<boolean> {
  const stats = await stat(join(folder, name)).catch(() => undefined);
  return stats?.isFile() ?? false;
}

/**
 * The path of a file that must exist and have content.
 * @throws SrdsError MODEL_INVALID if it is missing, empty or no file
 */
export async function requireFile(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  let found: string;
  try {
    const stats = await stat(path);
    if (stats.isFile() && stats.size > 0) return path;
    found = stats.isFile() ? 'an empty file' : 'something that is no file';
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR')
      throw missingFile('MODEL_INVALID', folder, name);
    found = messageOf(error);
  }
  throw new SrdsError('MODEL_INVALID', `a file ${path}`, found, RESTORE);
}
