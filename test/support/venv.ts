import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { lock } from 'proper-lockfile';
import { ROOT } from './fixtures.js';

const run = promisify(execFile);
/** Times that a lock is tried again, each after a second: as long as an installation may take. */
const PATIENCE = { retries: 600, factor: 1, minTimeout: 1000 };

/**
 * A virtual environment with packages from PyPI. It is kept in the system's temporary folder, so that further runs of the tests are quick.
 * @param requirements name of a file in test/support, with exact versions of everything that is needed
 * @returns its folder
 */
export async function virtualEnvironment(requirements: string): Promise<string> {
  const file = join(ROOT, 'test/support', requirements);
  const key = createHash('sha256').update(readFileSync(file)).digest('hex').slice(0, 16);
  const folder = join(tmpdir(), `srds-venv-${key}`);
  const complete = join(folder, 'complete');
  mkdirSync(folder, { recursive: true });
  const release = await lock(folder, { retries: PATIENCE });
  try {
    if (existsSync(complete)) return join(folder, 'venv');
    await run('python3', ['-m', 'venv', '--clear', '--without-pip', join(folder, 'venv')]);
    const python = join(folder, 'venv/bin/python');
    const install = ['install', '--quiet', '--no-deps', '--no-compile', '--requirement', file];
    await run('python3', ['-m', 'pip', '--python', python, ...install], { maxBuffer: 2 ** 26 });
    writeFileSync(complete, '');
    return join(folder, 'venv');
  } finally {
    await release();
  }
}

/** Runs a script of test/support in an environment. @returns what it printed, as JSON */
export async function pythonScript(requirements: string, script: string, args: readonly string[]): Promise<unknown> {
  const python = join(await virtualEnvironment(requirements), 'bin/python');
  const { stdout } = await run(python, [join(ROOT, 'test/support', script), ...args], { maxBuffer: 2 ** 26 });
  return JSON.parse(stdout) as unknown;
}
