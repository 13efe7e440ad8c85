import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { makeFolder } from '../hub/makeFolder.js';
import { parseCurve, type LatencyCurve } from './curve.js';
import type { MeasuredCurve } from './measure.js';

/** Latency curves by what they depend on: in memory, and in files in the user's cache. */
export class CurveStore {
  private readonly curves = new Map<string, LatencyCurve>();

  /** @param key values that the curve depends on @returns undefined if there is none, or none that can be used */
  async get(key: readonly unknown[]): Promise<LatencyCurve | undefined> {
    const name = nameOf(key);
    const curve = this.curves.get(name) ?? (await readCurve(name));
    if (curve) this.curves.set(name, curve);
    return curve;
  }

  /**
   * Keeps a curve. One that is not steady serves this process only, and replaces no steady one in the cache. A cache that cannot
   * be written is no error.
   * @param about what was measured, for people who read the file
   */
  async put(key: readonly unknown[], { curve, steady }: MeasuredCurve, about: object): Promise<void> {
    const name = nameOf(key);
    this.curves.set(name, curve);
    if (!steady && (await readCurve(name))) return;
    const content = `${JSON.stringify({ ...about, steady, ...curve }, undefined, 2)}\n`;
    await makeFolder(cacheFolder())
      .then(() => writeFileAtomic(fileOf(name), content))
      .catch(() => undefined);
  }
}

/** A steady curve from the cache. */
async function readCurve(name: string): Promise<LatencyCurve | undefined> {
  const file = fileOf(name);
  try {
    const content = JSON.parse(await readFile(file, 'utf8')) as { readonly steady?: boolean };
    return content.steady === false ? undefined : parseCurve(content, file);
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
