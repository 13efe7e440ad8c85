import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { ROOT } from '../support/fixtures.js';
import { startTiny } from '../support/server.js';

const KEY = 'an-operator-of-the-test';
const CHECKS = [
  'status_code_conformance',
  'content_type_conformance',
  'response_schema_conformance',
  'unsupported_method',
  'ignored_auth',
];
const run = promisify(execFile);

/** What a process that failed has printed. */
function outputOf(error: unknown): string {
  const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
  return stdout + stderr;
}

test('schemathesis, from PyPI, finds no answer that /openapi.json does not describe', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'srds-'));
  const server = await startTiny({
    apiKeys: ['a-key-of-the-test'],
    adminKeys: [KEY],
    maxSteps: 2,
    maxPixels: 64 * 64,
    maxImages: 2,
  });
  try {
    await run('python3', ['-m', 'venv', '--without-pip', folder]);
    const requirements = join(ROOT, 'test/support/schemathesis-requirements.txt');
    const install = ['install', '-q', '--no-deps', '--no-compile', '-r', requirements];
    try {
      await run('python3', ['-m', 'pip', '--python', join(folder, 'bin/python'), ...install]);
    } catch (error) {
      if (!/connection|network|resolve|timed out|retries/i.test(outputOf(error))) throw error;
      console.error('schemathesis: expected PyPI within reach, found no connection; /openapi.json is NOT checked');
      return context.skip('PyPI is out of reach');
    }
    const args = ['run', `${server.url}/openapi.json`, '-H', `Authorization: Bearer ${KEY}`, '--seed', '1'];
    const bounds = ['--max-examples', '10', '--phases', 'examples,coverage,fuzzing', '--request-timeout', '60'];
    const options = { cwd: folder, maxBuffer: 2 ** 26, env: { ...process.env, NO_COLOR: '1' } };
    const checking = run(join(folder, 'bin/schemathesis'), [...args, ...bounds, '--checks', CHECKS.join(',')], options);
    const { stdout } = await checking.catch((error: unknown) => {
      throw new Error(outputOf(error), { cause: error });
    });
    assert.match(stdout, /Tested: \d+/);
    // Deadlines of a tenth of a second pass; nothing else is the server's fault.
    const metrics = await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${KEY}` } });
    const statuses = [...(await metrics.text()).matchAll(/^srds_requests_total\{.*status="(\d+)"/gm)].map(
      ([, code]) => code,
    );
    assert.ok(statuses.length > 40);
    assert.deepEqual(
      statuses.filter((status) => status >= '500' && !['503', '504'].includes(status)),
      [],
    );
  } finally {
    await server.close();
    rmSync(folder, { recursive: true });
  }
});
