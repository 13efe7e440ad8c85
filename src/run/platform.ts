/** Runs in browsers and Node alike: what differs between them. */

type NodeEvents = { readonly setMaxListeners: (count: number, target: EventTarget) => void };
interface NodeGlobals {
  readonly process?: { readonly getBuiltinModule?: (name: 'events') => NodeEvents };
  readonly setImmediate?: (callback: () => void) => void;
}
const { process, setImmediate } = globalThis as NodeGlobals;

/** Node warns of more than ten listeners on a signal; every running evaluation, or every run, may add one. */
export function allowManyListeners(signal: AbortSignal): void {
  process?.getBuiltinModule?.('events').setMaxListeners(0, signal);
}

/** Resolves in the next turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (setImmediate) setImmediate(resolve);
    else setTimeout(resolve);
  });
}
