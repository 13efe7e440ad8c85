import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { criticalPath } from 'srds/run';
import { boundaries, checkPartition, defaultPartition, evenPartition, rampedPartition } from 'srds/sampler';

const partitions = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 });

test('an even partition covers the steps with lengths that differ by at most one', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1000 }), fc.nat(), (steps, k) => {
      const blocks = 1 + (k % steps);
      const partition = evenPartition(steps, blocks);
      assert.equal(partition.length, blocks);
      assert.equal(boundaries(partition).at(-1), steps);
      assert.ok(Math.max(...partition) - Math.min(...partition) <= 1);
      assert.ok(Math.min(...partition) >= 1);
    }),
  );
});

test('the critical path of k iterations with equal blocks of S steps is kS + B - k', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), fc.nat(), (S, B, seed) => {
      const k = seed % (B + 1);
      assert.equal(criticalPath(Array<number>(B).fill(S), k), k * S + B - k);
    }),
  );
});

test('pipelined, no partition and no number of iterations costs more than serial', () => {
  fc.assert(
    fc.property(partitions, (partition) => {
      const steps = partition.reduce((a, b) => a + b);
      for (let k = 0; k <= partition.length; k++) assert.ok(criticalPath(partition, k) <= steps);
      assert.equal(criticalPath(partition, partition.length), steps);
    }),
  );
});

test('blocks default to 1.3 sqrt(N) + 4, of 2.2 steps at least, the first ones shorter', () => {
  const counts = [1, 2, 5, 25, 100, 961].map((steps) => defaultPartition(steps).length);
  assert.deepEqual(counts, [1, 1, 3, 11, 17, 44]);
  assert.deepEqual(defaultPartition(25), [1, 1, 2, 2, 3, 2, 3, 3, 3, 2, 3]);
});

test('a ramped partition covers the steps with lengths that grow, except for rounding, from 0.3 of the last', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1000 }), fc.nat(), (steps, k) => {
      const blocks = 1 + (k % steps);
      const partition = rampedPartition(steps, blocks);
      assert.equal(partition.length, blocks);
      assert.equal(boundaries(partition).at(-1), steps);
      assert.ok(Math.min(...partition) >= 1);
      for (let i = 1; i < blocks; i++) assert.ok(partition[i] >= partition[i - 1] - 1);
      assert.ok(blocks === 1 || partition[0] <= Math.max(1, Math.ceil(0.3 * Math.max(...partition))));
    }),
  );
});

test('partitions that do not fit are refused', () => {
  for (const blocks of [0, -1, 1.5, 26]) {
    for (const cut of [evenPartition, rampedPartition]) {
      assert.throws(() => cut(25, blocks), { code: 'INVALID_OPTION' });
    }
  }
  for (const partition of [[], [0, 25], [12, 12], [12.5, 12.5]]) {
    assert.throws(() => checkPartition(partition, 25), { code: 'INVALID_OPTION' });
  }
});
