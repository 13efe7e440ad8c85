import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';

/** Gives the tests of a file a cache of their own, in which nothing is known of devices and models. @returns its folder */
export function ownCache(): string {
  const cache = mkdtempSync(join(tmpdir(), 'srds-cache-'));
  before(() => {
    process.env.XDG_CACHE_HOME = cache;
  });
  after(() => {
    delete process.env.XDG_CACHE_HOME;
    rmSync(cache, { recursive: true });
  });
  return cache;
}
