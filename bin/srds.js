#!/usr/bin/env node
// The command. In a clone it first builds dist if the sources are newer; the published package has dist only.
import { existsSync } from 'node:fs';

const build = new URL('../scripts/ensureBuilt.mjs', import.meta.url);
if (existsSync(build)) await import(build.href);
await import('../dist/cli/main.js');
