import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BatchingChoice } from '../../../src/engine/remote/batching.js';
import { EndpointHealth } from '../../../src/engine/remote/endpointHealth.js';
import { LatencyRecord } from '../../../src/engine/remote/latencyRecord.js';
import { priorityLevel } from '../../../src/engine/remote/priorityLevel.js';
import { retryDelay, type Failures } from '../../../src/engine/retry.js';

const FIRST: Failures = { kind: 'unavailable', count: 1, faults: 0, elapsed: 0, hasOther: false };

test('a batch is retried at once on another device, else after growing waits, and not for ever', () => {
  assert.equal(retryDelay({ ...FIRST, hasOther: true }, 0), 0);
  const waits = [1, 2, 3, 9].map((count) => retryDelay({ ...FIRST, count }, 0));
  assert.deepEqual(waits, [100, 200, 400, 3000]);
  assert.equal(retryDelay(FIRST, 1), 50);
  assert.equal(retryDelay({ ...FIRST, kind: 'busy', retryAfter: 2 }, 0), 2000);
  assert.equal(retryDelay({ ...FIRST, elapsed: 120_000 }, 0), undefined);
  assert.equal(retryDelay({ ...FIRST, elapsed: 300_000, hasOther: true }, 0), 0);
  assert.equal(retryDelay({ ...FIRST, kind: 'faulty', faults: 3, hasOther: true }, 0), undefined);
  assert.equal(retryDelay({ ...FIRST, kind: 'lost', count: 9 }, 0), 0);
  assert.equal(retryDelay({ ...FIRST, kind: 'gone' }, 0), undefined);
  assert.equal(retryDelay({ ...FIRST, kind: 'gone', hasOther: true }, 0), 0);
});

test('an endpoint that fails again before it has run a batch is out for longer', () => {
  const health = new EndpointHealth();
  assert.equal(health.fail(), true);
  assert.deepEqual([health.isUp, health.probeDelay(0)], [false, 250]);
  // Requests that fail together are one outage.
  assert.equal(health.fail(), false);
  assert.equal(health.probeDelay(0), 250);
  health.stayOut();
  assert.equal(health.probeDelay(0), 500);
  health.succeed();
  assert.equal(health.isUp, false);
  health.recover();
  health.succeed();
  health.fail();
  assert.equal(health.probeDelay(0), 250);
});

test('deadlines follow the slowest answer lately, and leave time for a first one', () => {
  const record = new LatencyRecord();
  assert.equal(record.deadline(1), 300_000);
  record.add(1, 2000);
  record.add(1, 1000);
  assert.deepEqual([record.expected(1), record.deadline(1)], [1800, 19_600]);
  assert.equal(record.deadline(8), 156_800);
  record.add(2, 1);
  assert.equal(record.deadline(2), 5000);
});

test('what is certain has the first priority, and speculation later ones by iteration and block', () => {
  const level = (iteration: number, block: number) =>
    priorityLevel({ priority: [iteration, block], speculative: true }, 8);
  assert.equal(priorityLevel({ priority: [3, 4] }, 8), 1);
  assert.deepEqual([level(0, 1), level(0, 5), level(1, 1), level(9, 9)], [2, 3, 4, 8]);
  assert.equal(priorityLevel({ priority: [0, 0] }, 0), undefined);
});

test('rows are sent as is faster, once both ways were tried', () => {
  const choice = new BatchingChoice('auto', true);
  for (let k = 0; k < 6; k++) {
    const way = choice.next(4);
    choice.add(way, 4, way === 'single' ? 5 : 8);
  }
  assert.deepEqual([choice.next(4), choice.next(2)], ['single', 'single']);
  assert.equal(new BatchingChoice('auto', false).next(4), 'explicit');
  assert.equal(new BatchingChoice('single', false).next(4), 'single');
});
