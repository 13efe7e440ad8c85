import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixture } from '../support/fixtures.js';
import { sharedPipeline } from '../support/pipelines.js';

test('the time of a serial run is that of the sampler only if no other run began meanwhile', async () => {
  const pipeline = await sharedPipeline(fixture('models/sd15'));
  const options = { prompt: 'a red ball', sampler: 'serial' } as const;
  assert.ok((await pipeline.generate({ ...options, steps: 5 }).result).serialSeconds! > 0);
  const outer = pipeline.generate({ ...options, steps: 100 });
  let inner: Promise<unknown> | undefined;
  for await (const event of outer) {
    if (event.type === 'evaluation') inner ??= pipeline.generate({ ...options, steps: 2 }).result;
  }
  await inner;
  assert.equal((await outer.result).serialSeconds, undefined);
});

test('devices are measured neither during the comparison with the serial image nor during a run', async () => {
  const pipeline = await sharedPipeline(fixture('models/sd15'));
  const compared = pipeline.generate({ prompt: 'a red ball', sampler: 'srds', steps: 60, compare: true });
  let isOver = false;
  const ending = compared.result.then(() => (isOver = true));
  for await (const event of compared) if (event.type === 'evaluation') break;
  await pipeline.machine({ prompt: 'a red ball' }, { fresh: true });
  assert.equal(isOver, true);
  await ending;
});
