import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Pipeline } from 'srds';
import { until } from '../support/async.js';
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
  // With buckets a run measures one size in any case.
  const pipeline = await Pipeline.open(fixture('models/sd15'), { buckets: [2, 4, 8] });
  const happened: string[] = [];
  const generate = async (name: string, sampler: 'serial' | 'auto', steps: number, signal?: AbortSignal) => {
    const run = pipeline.generate({ prompt: 'a', steps, sampler, tolerance: 0.4, signal });
    for await (const event of run) {
      if (event.type === 'phase') happened.push(`${name} ${event.phase}`);
      if (event.type === 'batch') happened.push(`${name} batch`);
    }
    return run.result;
  };
  try {
    // A run does not wait for the end of others to measure.
    const long = generate('long', 'serial', 120);
    await until(() => happened.includes('long batch'));
    const beside = await generate('beside', 'auto', 100);
    assert.ok(!happened.includes('beside measuring'));
    assert.equal(beside.settings.sampler, 'serial');
    assert.match(beside.choice?.reason ?? '', /not known yet/);
    await long;

    // Runs that begin during a measurement wait for its end, or until they are aborted.
    const measured = generate('measured', 'auto', 100);
    await until(() => happened.includes('measured measuring'));
    const controller = new AbortController();
    const given = generate('given up', 'serial', 30, controller.signal);
    const later = generate('later', 'serial', 5);
    controller.abort();
    assert.equal((await given).images[0].status, 'aborted');
    assert.ok(!happened.includes('measured planning'));
    await Promise.all([measured, later]);
  } finally {
    await pipeline.close();
  }
  const planning = happened.indexOf('measured planning');
  assert.ok(happened.indexOf('later batch') > planning, happened.join(', '));
  assert.ok(happened.indexOf('measured batch') > planning, happened.join(', '));
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
