import { readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { systemCode } from '../errors.js';

const POLL_MS = 200;

/**
 * Does something while no other process, nor another part of this one, does it under the same lock.
 * @param path of the lock's file, which holds the id of the process that has it; one that has died loses it
 */
export async function locked<Value>(
  path: string,
  signal: AbortSignal | undefined,
  work: () => Promise<Value>,
): Promise<Value> {
  while (!(await take(path))) {
    if (!(await isHeld(path))) await rm(path, { force: true });
    else await delay(POLL_MS, undefined, { signal });
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function take(path: string): Promise<boolean> {
  try {
    await writeFile(path, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

async function isHeld(path: string): Promise<boolean> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return false;
  try {
    // Signal 0 only asks. An empty file is one that is being written.
    return text === '' || process.kill(Number(text), 0);
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}
