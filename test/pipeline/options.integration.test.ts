import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pipeline, type GenerateOptions } from 'srds';
import { fixture } from '../support/fixtures.js';

test('only options without effect cause a warning', async () => {
  const pipeline = await Pipeline.open(fixture('models/sd15'));
  try {
    const warningsOf = async (options: Partial<GenerateOptions>) => {
      const run = pipeline.generate({ prompt: '', steps: 4, previews: false, ...options });
      const warnings: string[] = [];
      for await (const event of run) if (event.type === 'warning') warnings.push(event.message);
      await run.result;
      return warnings;
    };
    const all = { blocks: 2, correction: 'secant', tolerance: 1, window: 3, history: 2 } as const;
    assert.deepEqual(await warningsOf({ ...all, sampler: 'parataa' }), [
      'sampler parataa does nothing with correction (for srds) and blocks (for srds)',
    ]);
    assert.deepEqual(await warningsOf({ ...all, sampler: 'auto' }), [
      'sampler auto does nothing with history (for parataa)',
      // Of a model that is not known yet, auto takes the serial sampler, which keeps to any tolerance.
      'sampler serial does nothing with correction (for srds) and blocks (for srds) and window (for picard, paradigms, parataa)',
    ]);
    assert.deepEqual(await warningsOf({ tolerance: 1, stopping: 'change', sampler: 'auto' }), []);
    assert.equal((await warningsOf({ ...all, sampler: 'serial' }))[0].split(' and ').length, 5);
    assert.deepEqual(await warningsOf({ blocks: 2, tolerance: 1, sampler: 'srds' }), []);
    assert.deepEqual(await warningsOf({ sampler: 'serial' }), []);
  } finally {
    await pipeline.close();
  }
});
