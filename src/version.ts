import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';

const packageJson = z.object({ version: z.string() });

/** package.json, from dist or from a build of the sources for tests. */
const [BESIDE, ABOVE] = ['../package.json', '../../package.json'].map((place) => new URL(place, import.meta.url));
const FILE = existsSync(BESIDE) ? BESIDE : ABOVE;

const { version: VERSION } = packageJson.parse(JSON.parse(readFileSync(FILE, 'utf8')));

/** Version of this package, from its package.json. */
export function version(): string {
  return VERSION;
}
