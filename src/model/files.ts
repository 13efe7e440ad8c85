import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { messageOf, issueOf, SrdsError, systemCode } from '../errors.js';

export { makeFolder } from '../hub/makeFolder.js';

const RESTORE = 'export or download the model again';

/**
 * The text of a file of a model folder.
 * @throws SrdsError MODEL_NOT_FOUND if it is not there, MODEL_INVALID if it is empty or cannot be read
 */
export async function readText(folder: string, name: string): Promise<string> {
  const path = await requireFile(folder, name);
  return readFile(path, 'utf8').catch((error: unknown) => {
    throw new SrdsError('MODEL_INVALID', `a file ${path}`, messageOf(error), RESTORE, { cause: error });
  });
}

/**
 * A JSON file of a model folder, checked against a schema.
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID
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

/** A JSON file of a model folder. */
async function readUncheckedJson(folder: string, name: string): Promise<unknown> {
  const text = await readText(folder, name);
  try {
    // Python writes what JSON has no numbers for as bare words.
    return JSON.parse(text.replace(/([:[,]\s*)(-?Infinity|NaN)(?=\s*[,}\]])/g, '$1"$2"'));
  } catch (error) {
    throw new SrdsError('MODEL_INVALID', `JSON in ${join(folder, name)}`, messageOf(error), RESTORE, { cause: error });
  }
}

/** Whether a folder has a file. */
export async function fileExists(folder: string, name: string): Promise<boolean> {
  const stats = await stat(join(folder, name)).catch(() => undefined);
  return stats?.isFile() ?? false;
}

/**
 * The path of a file that must be there and must not be empty.
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID
 */
export async function requireFile(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  let found: string;
  try {
    const stats = await stat(path);
    if (stats.isFile() && stats.size > 0) return path;
    found = stats.isFile() ? 'an empty file' : 'something that is no file';
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') {
      throw new SrdsError(
        'MODEL_NOT_FOUND',
        `a diffusers folder of ONNX graphs in ${folder}`,
        `no ${name}`,
        'give --model the folder that optimum-cli export onnx wrote, with all of its files',
        { cause: error },
      );
    }
    found = messageOf(error);
  }
  throw new SrdsError('MODEL_INVALID', `a file ${path}`, found, RESTORE);
}
