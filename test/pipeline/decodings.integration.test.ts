import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pipeline } from 'srds';
import { ownCache } from '../support/cache.js';
import { fixture } from '../support/fixtures.js';

ownCache();

test('how long decoding takes is learned from runs that are alone, and kept for later pipelines', async () => {
  const request = { prompt: 'a', steps: 4, sampler: 'serial', previews: false } as const;
  let longest = 0;
  const first = await Pipeline.open(fixture('models/sd15'), {
    onBatch: ({ graph, networkMs }) => {
      if (graph === 'vae_decoder') longest = Math.max(longest, networkMs / 1000);
    },
  });
  try {
    // The first decoding prepares the device.
    await first.generate(request).result;
    assert.equal((await first.machine(request)).decodeSeconds, undefined);
    await first.generate(request).result;
  } finally {
    await first.close();
  }
  const second = await Pipeline.open(fixture('models/sd15'));
  try {
    const known = (await second.machine(request)).decodeSeconds!;
    assert.ok(known > 0 && known <= longest);
    // Measuring the curve anew says nothing of the decoder.
    assert.equal((await second.machine(request, { fresh: true })).decodeSeconds, known);
  } finally {
    await second.close();
  }
});
