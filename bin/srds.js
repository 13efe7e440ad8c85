#!/usr/bin/env node
// The command. In a clone it first builds dist if the sources are newer; the published package has dist only.
import { existsSync, readFileSync } from 'node:fs';

const fail = (expected, found) => {
  process.stderr.write(`srds: expected ${expected}, found ${found}; raise the limits of this shell (ulimit)\n`);
  process.exit(71);
};
// The modules themselves may not load where the system lacks resources, such as descriptors for their files.
const failed = ({ message }) => fail('its own files to load', message);
process.once('uncaughtException', failed);
// Node aborts, with a page of text, where it reaches a limit on the address space. It reserves most of this at its start.
const LEAST_SPACE = 1.2e9;
const space = addressSpace();
if (space < LEAST_SPACE) fail('an address space of 1.2 GB', `${(space / 1e9).toFixed(1)} GB`);
const build = new URL('../scripts/ensureBuilt.mjs', import.meta.url);
if (existsSync(build)) await import(build.href);
await import('../dist/cli/main.js').catch(failed);

/** Bytes that this process may map on Linux; infinite without a limit. */
function addressSpace() {
  try {
    return Number(/^Max address space +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? Infinity);
  } catch {
    return Infinity;
  }
}
