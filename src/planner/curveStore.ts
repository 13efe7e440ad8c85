import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { makeFolder } from '../hub/makeFolder.js';
import { measurementsFile, type Measurements } from './measure.js';

/** Measurements by what they depend on: in memory, and in files in the user's cache. */
export class CurveStore {
  private readonly known = new Map<string, Measurements>();

  /** @param key values that the measurements depend on @returns undefined if there are none, or none that can be used */
  async get(key: readonly unknown[]): Promise<Measurements | undefined> {
    const name = nameOf(key);
    const known = this.known.get(name) ?? (await readMeasurements(name));
    if (known) this.known.set(name, known);
    return known;
  }

  /**
   * Keeps measurements. A point that is not steady is kept for a later run to confirm or to correct. A cache that cannot be written
   * is no error.
   * @param about what was measured, for people who read the file
   */
  async put(key: readonly unknown[], measured: Measurements, about: object): Promise<void> {
    const name = nameOf(key);
    this.known.set(name, measured);
    const content = `${JSON.stringify({ ...about, ...measured }, undefined, 2)}\n`;
    await makeFolder(cacheFolder())
      .then(() => writeFileAtomic(fileOf(name), content))
      .catch(() => undefined);
  }
}

async function readMeasurements(name: string): Promise<Measurements | undefined> {
  try {
    const content: unknown = JSON.parse(await readFile(fileOf(name), 'utf8'));
    return measurementsFile.safeParse(content).data;
  } catch {
    return undefined;
  }
}
function nameOf(key: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 32);
}

function fileOf(name: string): string {
  return join(cacheFolder(), `${name}.json`);
}

function cacheFolder(): string {
  const given = process.env.XDG_CACHE_HOME ?? '';
  // The XDG base directory specification ignores relative paths.
  return join(isAbsolute(given) ? given : join(homedir(), '.cache'), 'srds', 'curves');
}
