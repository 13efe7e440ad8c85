import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';

const packageJson = z.object({ version: z.string() });

/** Where package.json is, from dist and from a build of the sources for tests. */
const PLACES = ['../package.json', '../../package.json'].map((place) => new URL(place, import.meta.url));

/** Version of this package, from its package.json. */
export function version(): string {
  const file = PLACES.find((place) => existsSync(place)) ?? PLACES[0];
  return packageJson.parse(JSON.parse(readFileSync(file, 'utf8'))).version;
}
