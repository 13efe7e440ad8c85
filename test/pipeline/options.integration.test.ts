import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pipeline, type GenerateOptions } from 'srds';
import { fixture } from '../support/fixtures.js';

test('only options without effect cause a warning', async () => {
  const pipeline = await Pipeline.open(fixture('models/sd15'));
  let chosen = '';
  try {
    const warningsOf = async (options: Partial<GenerateOptions>) => {
      const run = pipeline.generate({ prompt: '', steps: 4, previews: false, ...options });
      const warnings: string[] = [];
      for await (const event of run) {
        if (event.type === 'warning') warnings.push(event.message);
        if (event.type === 'plan') chosen = event.sampler;
      }
      await run.result;
      return warnings;
    };
    const all = { blocks: 2, correction: 'secant', tolerance: 1, window: 3, history: 2 } as const;
    assert.deepEqual(await warningsOf({ ...all, sampler: 'parataa' }), [
      'sampler parataa does nothing with correction (for srds) and blocks (for srds)',
    ]);
    // Any sampler keeps to a tolerance.
    const window = 'window (for picard, paradigms, parataa)';
    const ofChoice: Record<string, string> = {
      serial: `correction (for srds) and blocks (for srds) and ${window}`,
      srds: window,
    };
    assert.deepEqual(await warningsOf({ ...all, sampler: 'auto' }), [
      'sampler auto does nothing with history (for parataa)',
      `sampler ${chosen} does nothing with ${ofChoice[chosen]}`,
    ]);
    assert.deepEqual(await warningsOf({ tolerance: 1, stopping: 'change', sampler: 'auto' }), []);
    assert.equal((await warningsOf({ ...all, sampler: 'serial' }))[0].split(' and ').length, 5);
    assert.deepEqual(await warningsOf({ blocks: 2, tolerance: 1, sampler: 'srds' }), []);
    assert.deepEqual(await warningsOf({ sampler: 'serial' }), []);
  } finally {
    await pipeline.close();
  }
});
