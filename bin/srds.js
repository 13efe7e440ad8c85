#!/usr/bin/env node
// The command. In a clone it first builds dist if the sources are newer; the published package has dist only.
import { existsSync } from 'node:fs';

// The modules themselves may not load where the system lacks resources, such as descriptors for their files.
const failed = ({ message }) => {
  process.stderr.write(
    `srds: expected its own files to load, found ${message}; raise the limits of this shell (ulimit)\n`,
  );
  process.exit(71);
};
process.once('uncaughtException', failed);
const build = new URL('../scripts/ensureBuilt.mjs', import.meta.url);
if (existsSync(build)) await import(build.href);
await import('../dist/cli/main.js').catch(failed);
