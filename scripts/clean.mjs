// Removes a folder of build output, so that it keeps no file whose source was deleted.
import { rmSync } from 'node:fs';

rmSync(new URL(`../${process.argv[2]}`, import.meta.url), { recursive: true, force: true });
