import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultPartition } from 'srds/sampler';
import {
  BUNDLED_CONVERGENCE,
  withRuns,
  type Convergence,
  type ConvergenceRecord,
} from '../../src/planner/convergence.js';
import type { Machine } from '../../src/planner/forecast.js';
import { planKey } from '../../src/planner/planKey.js';

const STEPS = { steps: 50, tolerance: 0.08 };

function machine(milliseconds: readonly number[], convergence: Convergence = BUNDLED_CONVERGENCE): Machine {
  const points = milliseconds.map((time, k) => ({ rows: 2 * 4 ** k, seconds: time / 1000 }));
  return { devices: [{ points, padded: true }], rowsPerEvaluation: 2, maxRows: 128, convergence };
}

test('a plan is kept while runs add to what is known: 200 images need at most four plans', () => {
  const settings = {
    ...STEPS,
    sampler: 'srds',
    guidance: 5,
    parts: defaultPartition(50).length,
    expected: 2.2,
  } as const;
  let records: readonly ConvergenceRecord[] = [];
  const keys = new Set<string>();
  for (let image = 0; image < 200; image++) {
    keys.add(planKey(machine([1.5, 1.7 + 0.01 * (image % 3), 2.8], { ...BUNDLED_CONVERGENCE, records }), STEPS));
    records = withRuns(records, settings, [[1, 3, 2, 6][image % 4]]);
  }
  assert.ok(keys.size <= 4, String(keys.size));
});

test('another machine, model or trajectory needs another plan', () => {
  const slow = { ...BUNDLED_CONVERGENCE, prior: 3 };
  const keys = [
    planKey(machine([1.5, 1.7, 2.8]), STEPS),
    planKey(machine([1.5, 1.7, 5.6]), STEPS),
    planKey(machine([1.5, 1.7]), STEPS),
    planKey({ ...machine([1.5, 1.7, 2.8]), images: 4 }, STEPS),
    planKey(machine([1.5, 1.7, 2.8], slow), STEPS),
  ];
  assert.equal(new Set(keys).size, keys.length);
});
