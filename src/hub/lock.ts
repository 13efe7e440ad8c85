import { setTimeout as delay } from 'node:timers/promises';
import { lock } from 'proper-lockfile';
import { systemCode } from '../errors.js';

const POLL_MS = 200;
/** A lock that its owner has not refreshed for this long belongs to a dead process and is taken over. */
const STALE_MS = 10_000;

/**
 * Runs `work` while holding a file's lock, which excludes other processes and other calls in this process.
 * @param path path of the file, which need not exist
 * @param signal aborts waiting for the lock
 */
export async function locked<Value>(
  path: string,
  signal: AbortSignal | undefined,
  work: () => Promise<Value>,
): Promise<Value> {
  let release: (() => Promise<void>) | undefined;
  while (!release) {
    try {
      // A lost lock, after the machine slept for example, shows in the hash of the file.
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
