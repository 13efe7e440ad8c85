import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { z } from 'zod';
import { ROOT } from '../support/fixtures.js';
import { post, startTiny } from '../support/server.js';

const KEY = 'a-key-of-the-test';
const run = promisify(execFile);

test("OpenAI's Python client, from PyPI, generates, streams, edits and reports errors", async () => {
  const folder = mkdtempSync(join(tmpdir(), 'srds-'));
  const server = await startTiny({ apiKeys: [KEY] });
  try {
    const python = join(folder, 'bin/python');
    const support = (name: string) => join(ROOT, 'test/support', name);
    await run('python3', ['-m', 'venv', '--without-pip', folder]);
    const install = ['install', '-q', '--no-deps', '--no-compile', '-r', support('openai-requirements.txt')];
    await run('python3', ['-m', 'pip', '--python', python, ...install]);
    const { stdout } = await run(python, [support('openai_client.py'), server.url, KEY], { maxBuffer: 2 ** 24 });
    const seen = z
      .object({
        models: z.array(z.string()),
        images: z.array(z.string()),
        tokens: z.int(),
        events: z.array(z.string()),
        edited: z.int(),
        refused: z.array(z.unknown()),
        unknown: z.string(),
      })
      .parse(JSON.parse(stdout));
    const request = { prompt: 'a red ball', n: 2, seed: 7, steps: 4, sampler: 'serial' };
    const { body } = await post(server.url, '/v1/images/generations', request, { authorization: `Bearer ${KEY}` });
    const { data } = body as { data: { b64_json: string }[] };
    assert.deepEqual(
      seen.images,
      data.map(({ b64_json }) => b64_json),
    );
    assert.deepEqual(seen.models, ['sd15']);
    assert.equal(seen.tokens, 3 + 2 * 4);
    assert.deepEqual(seen.events, [
      'image_generation.partial_image',
      'image_generation.partial_image',
      'image_generation.completed',
    ]);
    assert.deepEqual([seen.edited, seen.refused, seen.unknown], [1, [400, 'n'], 'invalid_api_key']);
  } finally {
    await server.close();
    rmSync(folder, { recursive: true });
  }
});
