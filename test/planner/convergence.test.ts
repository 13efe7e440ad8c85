import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  basisOf,
  BUNDLED_CONVERGENCE,
  UNKNOWN_CONVERGENCE,
  expectedIterations,
  expectedPasses,
  withRuns,
  type ConvergenceRecord,
} from 'srds/planner';
import { defaultPartition, type Partition } from 'srds/sampler';

const keyOf = (partition: Partition) => ({
  sampler: 'srds' as const,
  steps: partition.reduce((sum, length) => sum + length, 0),
  parts: partition.length,
  tolerance: 0.1,
  guidance: 5,
  expected: expectedIterations(partition),
});
const PARTITION = defaultPartition(50);

test('of a model that no run has shown, more iterations are expected than the bundled one takes', () => {
  for (const steps of [25, 100, 961]) {
    const partition = defaultPartition(steps);
    const unknown = expectedIterations(partition, 0.1, UNKNOWN_CONVERGENCE);
    assert.ok(unknown > expectedIterations(partition, 0.1, BUNDLED_CONVERGENCE) + 0.5);
    assert.ok(expectedPasses(steps, steps, 0.1, UNKNOWN_CONVERGENCE) > expectedPasses(steps, steps));
  }
});

test('after three runs the forecast is within a fifth of what they took, whatever the model', () => {
  for (const taken of [1, 2, 6]) {
    const records = withRuns([], keyOf(PARTITION), [taken, taken, taken]);
    const forecast = expectedIterations(PARTITION, 0.1, { ...UNKNOWN_CONVERGENCE, records });
    assert.ok(Math.abs(forecast / taken - 1) < 0.2, `${forecast} against ${taken}`);
  }
});

test('runs with other settings scale what is expected', () => {
  const others = defaultPartition(100);
  const records = withRuns([], keyOf(PARTITION), [5, 5, 5, 5]);
  const forecast = expectedIterations(others, 0.1, { ...UNKNOWN_CONVERGENCE, records });
  assert.ok(forecast > expectedIterations(others) + 1);
});

test('a few runs of the bundled model, whose figures are known, change its forecast little; many change it', () => {
  const usual = expectedIterations(PARTITION, 0.1);
  const after = (runs: number) => {
    const records = withRuns([], keyOf(PARTITION), Array<number>(runs).fill(4));
    return expectedIterations(PARTITION, 0.1, { ...BUNDLED_CONVERGENCE, records });
  };
  assert.ok(after(1) > usual && after(1) < usual + 0.5, String(after(1)));
  assert.ok(after(50) > 3.5, String(after(50)));
});

test('a record keeps the mean of its runs, and forgets the oldest', () => {
  const key = keyOf(PARTITION);
  const few = withRuns([], key, [1, 3]);
  assert.deepEqual(few, [{ ...key, runs: 2, iterations: 2 }]);
  const other = { ...key, guidance: 9 };
  assert.equal(withRuns(few, other, [4]).length, 2);
  let many: readonly ConvergenceRecord[] = few;
  for (let k = 0; k < 300; k++) many = withRuns(many, key, [4]);
  assert.equal(many[0].runs, 50);
  assert.ok(Math.abs(many[0].iterations - 4) < 0.01);
});

test('forecasts say what they rest on: the images that are recorded, or the prior', () => {
  assert.match(basisOf(), /^the prior only: the bundled model's figures/);
  assert.match(basisOf(UNKNOWN_CONVERGENCE), /^the prior only: 3 times/);
  const records = withRuns(withRuns([], keyOf(PARTITION), [2, 2]), keyOf(defaultPartition(25)), [2]);
  const basis = basisOf({ ...UNKNOWN_CONVERGENCE, records });
  assert.equal(basis, 'records of this model: 3 images with srds, none with picard');
});
