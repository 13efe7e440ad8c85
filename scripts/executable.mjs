// tsc writes the command line without the executable bit that a linked `bin` needs.
import { chmodSync } from 'node:fs';

chmodSync(new URL('../dist/cli/main.js', import.meta.url), 0o755);
