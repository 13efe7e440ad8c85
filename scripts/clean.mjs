// Removes a folder of build output, that nothing deleted from the sources lives on in it.
import { rmSync } from 'node:fs';

rmSync(new URL(`../${process.argv[2]}`, import.meta.url), { recursive: true, force: true });
