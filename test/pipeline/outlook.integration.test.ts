import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GenerateEvent, GenerateOptions } from 'srds';
import { fixture } from '../support/fixtures.js';
import { sharedPipeline } from '../support/pipelines.js';

async function generated(options: Partial<GenerateOptions>) {
  const pipeline = await sharedPipeline(fixture('models/sd15'));
  const run = pipeline.generate({ prompt: 'a red ball', steps: 9, previews: false, ...options });
  const events: GenerateEvent[] = [];
  for await (const event of run) events.push(event);
  const expected = events.flatMap((event) => (event.type === 'phase' && event.expected ? [event.expected] : []));
  return { events, expected, result: await run.result };
}

test('the estimate of the serial sampler is its evaluations times the median of batches of one', async () => {
  for (const sampler of ['serial', 'srds'] as const) {
    const { events, result } = await generated({ sampler });
    const times = events
      .flatMap((event) => (event.type === 'batch' && event.evaluations.length === 1 ? [event.end - event.begin] : []))
      .sort((a, b) => a - b);
    assert.ok(times.length > 0);
    const median = times[Math.floor((times.length - 1) / 2)] / 1000;
    assert.equal(result.serialSeconds, 9 * median);
  }
  // No batch of several images has one evaluation alone; serial runs teach how long one takes, once their batches take about equally long.
  for (const sampler of ['serial', 'srds'] as const) {
    let known: number | undefined;
    for (let run = 0; run < 50 && known === undefined; run++) {
      await generated({ sampler: 'serial' });
      known = (await generated({ sampler, n: 2 })).result.serialSeconds;
    }
    assert.ok(known !== undefined && known > 0, String(known));
  }
});

test('sampling begins with the evaluations that are expected, also where nothing was measured', async () => {
  assert.deepEqual((await generated({ sampler: 'serial' })).expected, [{ critical: 9, total: 9 }]);
  // A run whose iterations are bounded takes what the forecast says: the coarse sweep, and the iterations.
  const { expected, result } = await generated({ sampler: 'srds', blocks: 3, maxIterations: 1, tolerance: 1e-9 });
  const [{ evaluations }] = result.images;
  assert.equal(expected.length, 1);
  assert.equal(expected[0].critical, evaluations.critical);
  assert.ok(expected[0].total >= evaluations.critical && expected[0].total <= evaluations.total + 9);
});

test('runs that start from an image do not count for those that start from noise', async () => {
  const pipeline = await sharedPipeline(fixture('models/sd15'));
  const recorded = async () => (await pipeline.machine({ prompt: '' })).convergence?.records ?? [];
  const init = { width: 64, height: 64, data: new Uint8Array(64 * 64 * 3).fill(99) };
  const before = await recorded();
  const options = { sampler: 'picard', tolerance: 3, steps: 12 } as const;
  await generated({ ...options, init, strength: 0.5 });
  assert.deepEqual(await recorded(), before);
  await generated(options);
  assert.notDeepEqual(await recorded(), before);
});
