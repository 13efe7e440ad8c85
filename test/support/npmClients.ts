import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { lock } from 'proper-lockfile';
import { ROOT } from './fixtures.js';

const run = promisify(execFile);
const SOURCE = join(ROOT, 'test/support/npmClients');
const PATIENCE = { retries: 600, factor: 1, minTimeout: 1000 };

/**
 * Clients of the server from npm, which are too large for the project's own dependencies. They are kept in the system's temporary folder.
 * @returns what imports one of them
 */
export async function npmClients(): Promise<(name: string) => Promise<unknown>> {
  const key = createHash('sha256')
    .update(readFileSync(join(SOURCE, 'package-lock.json')))
    .digest('hex')
    .slice(0, 16);
  const folder = join(tmpdir(), `srds-npm-${key}`);
  const complete = join(folder, 'complete');
  mkdirSync(folder, { recursive: true });
  const release = await lock(folder, { retries: PATIENCE });
  try {
    if (!existsSync(complete)) {
      cpSync(SOURCE, folder, { recursive: true });
      const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error'];
      await run('npm', ['ci', ...flags], { cwd: folder, shell: process.platform === 'win32' });
      writeFileSync(complete, '');
    }
  } finally {
    await release();
  }
  const { resolve } = createRequire(join(folder, 'package.json'));
  return (name) => import(pathToFileURL(resolve(name)).href) as Promise<unknown>;
}
