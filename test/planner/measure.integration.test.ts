import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Pipeline } from 'srds';
import { fixture } from '../support/fixtures.js';

// Each test begins with nothing measured.
let cache = '';
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'srds-cache-'));
  process.env.XDG_CACHE_HOME = cache;
});
afterEach(() => {
  delete process.env.XDG_CACHE_HOME;
  rmSync(cache, { recursive: true });
});

test('devices are measured while no generation runs', async () => {
  const ends: string[] = [];
  let begun: () => void = () => undefined;
  const beginning = new Promise<void>((resolve) => (begun = resolve));
  // With buckets a run measures one size in any case.
  const pipeline = await Pipeline.open(fixture('models/sd15'), { buckets: [2, 4, 8] });
  try {
    const generate = async (sampler: 'serial' | 'auto', steps: number) => {
      const run = pipeline.generate({ prompt: 'a', steps, sampler, tolerance: 0.4 });
      for await (const { type } of run) {
        if (type === 'batch') ends.push(sampler);
        if (ends.length === 1) begun();
      }
      return (await run.result).choice;
    };
    const long = generate('serial', 120);
    await beginning;
    const measured = generate('auto', 100);
    // A caller that waits for the measurement can abort.
    const controller = new AbortController();
    const given = pipeline.generate({ prompt: 'a', steps: 30, sampler: 'serial', signal: controller.signal }).result;
    setTimeout(() => controller.abort(), 20);
    assert.equal((await given).images[0].status, 'aborted');
    assert.ok(ends.length < 120, 'the long one is not done');
    const [, chosen] = await Promise.all([long, measured]);
    assert.match(chosen?.reason ?? '', /serial sampler|gain|times|one by one/);
  } finally {
    await pipeline.close();
  }
  // A measurement counts as no client's batch; a run that waits for one starts after the runs before it.
  assert.deepEqual(ends.slice(0, 120), Array(120).fill('serial'));
  assert.ok(ends.length > 120 && ends.slice(120).every((sampler) => sampler === 'auto'));
});

test('where nothing was measured, SRDS takes no larger buckets than pay on most devices that have them', async () => {
  const pipeline = await Pipeline.open(fixture('models/sd15'), { buckets: [2, 8, 16, 64] });
  try {
    const rows = new Set<number>();
    const run = pipeline.generate({ prompt: 'a', steps: 60, sampler: 'srds', tolerance: 0, maxIterations: 2 });
    for await (const event of run) if (event.type === 'batch') rows.add(event.rows);
    assert.deepEqual([...rows].sort((a, b) => a - b).at(-1), 16);
  } finally {
    await pipeline.close();
  }
});
