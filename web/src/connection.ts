import { computed, signal } from '@preact/signals';
import type { Info } from '../../src/server/infoAnswer.js';
import { getInfo, isReady, ServerError } from './api.js';
import { explain } from './explain.js';
import { keep, kept } from './storage.js';

const KEY = 'srds.key';
const RETRY_MS = 2000;

/** `lost`: the server does not answer, and the page waits for it. `locked`: it wants a key. */
export type ConnectionState = 'connecting' | 'connected' | 'lost' | 'locked';

/** The API key; empty if there is none. */
export const key = signal(String(kept(() => sessionStorage, KEY, '')));
export const connection = signal<ConnectionState>('connecting');
/** What the server can do; the last answer if the connection is lost. */
export const info = signal<Info | undefined>(undefined);
export const form = computed(() => info.value?.form ?? []);
/** Why the server did not take the key, in words. */
export const obstacle = signal<string | undefined>(undefined);

let waiting: Promise<void> | undefined;

/** Asks the server what it can do, and waits for it as long as it does not answer. */
export async function connect(): Promise<void> {
  if (!(await ask())) await waitForServer();
}

/** Waits until the server answers again. */
export function waitForServer(): Promise<void> {
  waiting ??= wait().finally(() => (waiting = undefined));
  return waiting;
}

async function wait(): Promise<void> {
  connection.value = 'lost';
  do await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  while (!(await isReady()) || !(await ask()));
}

/** Whether the server answered, if only that it wants a key. */
async function ask(): Promise<boolean> {
  try {
    info.value = await getInfo(key.value);
    connection.value = 'connected';
    obstacle.value = undefined;
    return true;
  } catch (error) {
    if (!(error instanceof ServerError) || error.details.status !== 401) return false;
    connection.value = 'locked';
    obstacle.value = key.value === '' ? undefined : explain(error, []);
    return true;
  }
}

/** Uses another key. */
export async function useKey(given: string): Promise<void> {
  // No request can carry other characters, such as curly quotes.
  if (!/^[!-~]*$/.test(given)) {
    obstacle.value = 'A key has letters, digits and plain signs only; copy it again.';
    return;
  }
  key.value = given;
  keep(() => sessionStorage, KEY, given);
  return connect();
}
