import { setTimeout as delay } from 'node:timers/promises';
import { lock } from 'proper-lockfile';
import { systemCode } from '../errors.js';

const POLL_MS = 200;
/** A lock whose owner gives no sign of life for so long is taken: it was killed. */
const STALE_MS = 10_000;

/**
 * Does something while no other process, nor another part of this one, does it for the same file.
 * @param path of the file, which need not be there
 */
export async function locked<Value>(
  path: string,
  signal: AbortSignal | undefined,
  work: () => Promise<Value>,
): Promise<Value> {
  let release: (() => Promise<void>) | undefined;
  while (!release) {
    try {
      // Losing it, after a long sleep of the machine, say, is seen by the hash of what was written.
      release = await lock(path, { realpath: false, stale: STALE_MS, onCompromised: () => undefined });
    } catch (error) {
      if (systemCode(error) !== 'ELOCKED') throw error;
      await delay(POLL_MS, undefined, { signal });
    }
  }
  try {
    return await work();
  } finally {
    await release().catch(() => undefined);
  }
}
