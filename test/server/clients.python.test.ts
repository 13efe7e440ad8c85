import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { pixelsOf } from '../support/images.js';
import { startTiny } from '../support/server.js';
import { pythonScript } from '../support/venv.js';

/** The largest that the tiny model draws; clients ask for 512x512 and 1024x1024. */
const LARGEST = [128, 128];

const seenBy = z.object({
  webuiapi: z.object({
    sizes: z.array(z.array(z.int())),
    warnings: z.array(z.array(z.string())),
    information: z.string(),
    models: z.array(z.string()),
    samplers: z.array(z.string()),
    schedulers: z.array(z.string()),
    lists: z.array(z.array(z.unknown())),
    memory: z.int().positive(),
    interrupted: z.null(),
  }),
  sd_backend_client: z.object({ kind: z.string(), sizes: z.array(z.array(z.int())), seed: z.int().min(0) }),
  litellm: z.object({ content: z.int().positive(), url: z.string(), edited: z.int().positive() }),
});

test('webuiapi, sd-backend-client and LiteLLM, from PyPI, draw, repaint and list with their defaults', async () => {
  const server = await startTiny();
  try {
    const seen = seenBy.parse(await pythonScript('clients-requirements.txt', 'web_clients.py', [server.url]));
    const { webuiapi, sd_backend_client: backend, litellm } = seen;
    assert.deepEqual(webuiapi.sizes, [LARGEST, LARGEST]);
    assert.match(webuiapi.warnings[0].join('\n'), /"Euler a" is not here: DDPM[^]*128x128 in place of 512x512/);
    assert.match(webuiapi.warnings[1].join('\n'), /nothing with inpainting_fill 0[^]*nothing with mask_blur/);
    assert.deepEqual([webuiapi.information, webuiapi.models], ['a red ball', ['sd15']]);
    assert.ok(webuiapi.samplers.includes('DPM++ 2M'));
    assert.deepEqual(webuiapi.schedulers, ['automatic', 'karras', 'uniform']);
    assert.deepEqual(webuiapi.lists.flat(), []);
    assert.deepEqual([backend.kind, ...backend.sizes], ['A1111Webservice', LARGEST, LARGEST, LARGEST]);
    const file = await pixelsOf(new Uint8Array(await (await fetch(litellm.url)).arrayBuffer()));
    assert.deepEqual([file.format, file.width, file.height], ['png', ...LARGEST]);
  } finally {
    await server.close();
  }
});
