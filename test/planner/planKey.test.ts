import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forecastSrds, plan } from 'srds/planner';
import { defaultPartition } from 'srds/sampler';
import {
  BUNDLED_CONVERGENCE,
  withRuns,
  type Convergence,
  type ConvergenceRecord,
} from '../../src/planner/convergence.js';
import type { Machine } from '../../src/planner/forecast.js';
import { renewedPlan } from '../../src/planner/plan.js';
import { ALIKE, planKey, SAME } from '../../src/planner/planKey.js';
import { finish } from '../../src/run/steps.js';

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
    keys.add(planKey(machine([1.5, 1.7 + 0.01 * (image % 3), 2.8], { ...BUNDLED_CONVERGENCE, records }), STEPS, ALIKE));
    records = withRuns(records, settings, [[1, 3, 2, 6][image % 4]]);
  }
  assert.ok(keys.size <= 4, String(keys.size));
});

test('another machine, model or trajectory needs another plan', () => {
  const slow = { ...BUNDLED_CONVERGENCE, prior: 3 };
  const keys = [
    planKey(machine([1.5, 1.7, 2.8]), STEPS, ALIKE),
    planKey(machine([1.5, 1.7, 5.6]), STEPS, ALIKE),
    planKey(machine([1.5, 1.7]), STEPS, ALIKE),
    planKey({ ...machine([1.5, 1.7, 2.8]), images: 4 }, STEPS, ALIKE),
    planKey(machine([1.5, 1.7, 2.8], slow), STEPS, ALIKE),
  ];
  assert.equal(new Set(keys).size, keys.length);
});

test('a plan is renewed with forecasts for the machine at hand, and dropped where its choice does not gain', () => {
  const [before, now, worse] = [
    machine([3.2, 4.5, 6.4]),
    machine([3.1, 4.6, 6.5]),
    { ...machine([3, 9, 12]), convergence: { ...BUNDLED_CONVERGENCE, prior: 2 } },
  ];
  assert.equal(planKey(before, STEPS, ALIKE), planKey(now, STEPS, ALIKE));
  assert.notEqual(planKey(before, STEPS, SAME), planKey(now, STEPS, SAME));
  const { chosen } = plan(STEPS, before);
  assert.equal(chosen.sampler, 'srds');
  const renewed = finish(renewedPlan(plan(STEPS, before), STEPS, now));
  assert.ok(renewed?.chosen.sampler === 'srds');
  const { partition, maxRows } = renewed.chosen;
  const { seconds } = forecastSrds(partition, 1, now, STEPS, [maxRows]);
  assert.deepEqual([renewed.chosen.seconds, renewed.candidates.length], [seconds, 2]);
  assert.equal(finish(renewedPlan(plan(STEPS, before), STEPS, worse)), undefined);
  // A choice of the serial sampler is compared again too.
  const kept = plan(STEPS, worse);
  assert.equal(kept.chosen.sampler, 'serial');
  assert.equal(finish(renewedPlan(kept, STEPS, worse))?.reason, kept.reason);
  assert.notEqual(finish(renewedPlan(kept, STEPS, now))?.chosen.sampler, 'serial');
});
