import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { post, startTiny } from '../support/server.js';
import { pythonScript } from '../support/venv.js';

const KEY = 'a-key-of-the-test';

test("OpenAI's Python client, from PyPI, generates, streams, edits and reports errors", async () => {
  const server = await startTiny({ apiKeys: [KEY] });
  try {
    const seen = z
      .object({
        models: z.array(z.string()),
        images: z.array(z.string()),
        tokens: z.int(),
        events: z.array(z.string()),
        edited: z.int(),
        refused: z.array(z.unknown()),
        unknown: z.string(),
        large: z.string(),
      })
      .parse(await pythonScript('clients-requirements.txt', 'openai_client.py', [server.url, KEY]));
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
    assert.equal(seen.large, '128x128');
  } finally {
    await server.close();
  }
});
