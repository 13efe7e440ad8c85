import { nameOf, readCache, writeCache } from '../files/cacheFile.js';
import { measurementsFile, type Measurements } from './measurements.js';

/** Measurements by what they depend on: in memory, and in files in the user's cache. */
export class CurveStore {
  private readonly known = new Map<string, Measurements>();

  /** @param key values that the measurements depend on @returns undefined if there are none, or none that can be used */
  async get(key: readonly unknown[]): Promise<Measurements | undefined> {
    const name = nameOf(key);
    const known = this.known.get(name) ?? measurementsFile.safeParse(await readCache('curves', key)).data;
    if (known) this.known.set(name, known);
    return known;
  }

  /**
   * Keeps measurements. A point that is not steady is kept for a later run to confirm or to correct.
   * @param about what was measured, for people who read the file
   */
  async put(key: readonly unknown[], measured: Measurements, about: object): Promise<void> {
    this.known.set(nameOf(key), measured);
    await writeCache('curves', key, { ...about, ...measured });
  }
}
