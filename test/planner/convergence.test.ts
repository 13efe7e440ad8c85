import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  basisOf,
  BUNDLED_CONVERGENCE,
  UNKNOWN_CONVERGENCE,
  expectedIterations,
  expectedPasses,
  simulateSrds,
  withRuns,
  type Convergence,
  type ConvergenceRecord,
} from 'srds/planner';
import { criticalPath } from 'srds/run';
import { defaultPartition, iterationsToExact, type Partition } from 'srds/sampler';

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

test('guidance scales what is expected of the bundled model; of another one a low guidance promises nothing', () => {
  const at = (convergence: Convergence, guidance: number) =>
    expectedIterations(PARTITION, 0.1, { ...convergence, guidance });
  assert.ok(at(BUNDLED_CONVERGENCE, 2) < at(BUNDLED_CONVERGENCE, 5) - 0.4);
  assert.ok(at(BUNDLED_CONVERGENCE, 9) > at(BUNDLED_CONVERGENCE, 5) + 0.4);
  // Without guidance there is no scale to grow with.
  assert.equal(at(BUNDLED_CONVERGENCE, 0), at(BUNDLED_CONVERGENCE, 1));
  assert.ok(at(UNKNOWN_CONVERGENCE, 1) >= at(UNKNOWN_CONVERGENCE, 5) - 1e-9);
  // Where guidance is an input of the network, that of true guidance counts.
  const [distilled, guided] = [1, 5].map((cfgScale) => at({ ...BUNDLED_CONVERGENCE, cfgScale }, 3.5));
  assert.ok(distilled < guided - 0.4);
});

test('runs with another guidance scale what is expected, and those with the same one count in full', () => {
  const known = { ...UNKNOWN_CONVERGENCE, guidance: 9 };
  const none = expectedIterations(PARTITION, 0.1, known);
  const records = withRuns([], keyOf(PARTITION), [2, 2, 2]);
  const scaled = expectedIterations(PARTITION, 0.1, { ...known, records });
  assert.ok(scaled > 2.2 && scaled < none - 1, `${scaled}, without records ${none}`);
  const own = withRuns(records, { ...keyOf(PARTITION), guidance: 9 }, [6, 6, 6]);
  assert.ok(Math.abs(expectedIterations(PARTITION, 0.1, { ...known, records: own }) / 6 - 1) < 0.1);
});

interface TailRun {
  readonly steps: number;
  readonly guidance: number;
  readonly sampler: string;
  readonly stopping: string;
  readonly tolerance: number;
}

const TAILS = JSON.parse(
  readFileSync(new URL('../../../benchmarks/results/h200-tails.json', import.meta.url), 'utf8'),
) as {
  readonly withoutFusedKernels: { readonly runs: readonly (TailRun & { readonly critical: string })[] };
  readonly withFusedKernels: { readonly runs: readonly (TailRun & { readonly iterations: number })[] };
};

for (const looksAhead of [true, false]) {
  test(`by the ${looksAhead ? 'predicted' : 'last'} change, expected iterations are within 8 % of those of 1000 images`, () => {
    const stopping = looksAhead ? 'look-ahead' : 'change';
    const runs = TAILS.withFusedKernels.runs.filter(
      (one) =>
        one.sampler === 'srds' &&
        one.guidance === 5 &&
        one.stopping === stopping &&
        [0.08, 0.1].includes(one.tolerance),
    );
    assert.ok(runs.length >= 6);
    for (const { steps, tolerance, iterations } of runs) {
      const expected = expectedIterations(defaultPartition(steps), tolerance, BUNDLED_CONVERGENCE, looksAhead);
      assert.ok(
        Math.abs(expected / iterations - 1) < 0.08,
        `N = ${steps}, ${tolerance}: ${expected} for ${iterations}`,
      );
    }
  });
}

const ofPicard = TAILS.withFusedKernels.runs.filter(({ sampler }) => sampler === 'picard');
test('there are tails of picard by both rules', () => {
  assert.equal(ofPicard.length, 6);
});
for (const { steps, stopping, tolerance, iterations } of ofPicard) {
  const looksAhead = stopping === 'look-ahead';
  const percent = looksAhead ? 2 : 4;
  test(`N = ${steps}: the passes that are expected of picard by ${stopping} are within ${percent} % of ${iterations}`, () => {
    const expected = expectedPasses(steps, steps, tolerance, BUNDLED_CONVERGENCE, looksAhead);
    assert.ok(Math.abs(expected / iterations - 1) < percent / 100, `${expected}`);
  });
}

const ofSrds = TAILS.withoutFusedKernels.runs.filter(
  ({ sampler, stopping }) => sampler === 'srds' && stopping === 'look-ahead',
);
test('there are tails of srds with three scales of guidance', () => {
  assert.deepEqual([...new Set(ofSrds.map(({ guidance }) => guidance))].sort(), [2, 5, 9]);
});
for (const { steps, guidance, tolerance, critical } of ofSrds) {
  const partition = defaultPartition(steps);
  const taken = critical.trim().split(' ').map(Number);
  const mean = taken.reduce((sum, one) => sum + one, 0) / taken.length;
  const paths = Array.from({ length: iterationsToExact(partition) + 1 }, (_, k) => criticalPath(partition, k));
  const unit = { devices: [{ padded: false, points: [1, 1000].map((rows) => ({ rows, seconds: 1 })) }] };
  const pathOf = (iterations: number) =>
    simulateSrds(partition, iterations, { ...unit, rowsPerEvaluation: 1, maxRows: 1000 }).critical;
  const settings = { sampler: 'srds' as const, steps, parts: partition.length, tolerance, guidance };
  const known = { ...BUNDLED_CONVERGENCE, guidance };
  const expected = expectedIterations(partition, tolerance, known);

  test(`N = ${steps}, guidance ${guidance}, tolerance ${tolerance}: the forecast is within 4 % of ${taken.length} images`, () => {
    const forecast = pathOf(expected);
    assert.ok(Math.abs(forecast / mean - 1) < 0.04, `${forecast} against ${mean}`);
  });

  test(`N = ${steps}, guidance ${guidance}, tolerance ${tolerance}: after any three images four of five forecasts are within 10 %`, () => {
    const iterations = taken.map((depth) => paths.indexOf(depth));
    const forecasts = Array.from({ length: Math.floor(taken.length / 3) }, (_, k) => {
      const records = withRuns([], { ...settings, expected }, iterations.slice(3 * k, 3 * k + 3));
      return pathOf(expectedIterations(partition, tolerance, { ...known, records }));
    });
    const within = forecasts.filter((forecast) => Math.abs(forecast / mean - 1) <= 0.1);
    assert.ok(within.length >= 0.8 * forecasts.length, `${within.length} of ${forecasts.length}`);
  });
}

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
  // Of settings that clients choose freely, those that were used last stay.
  for (let k = 0; k < 300; k++) many = withRuns(many, { ...key, guidance: 5 + k / 1000 }, [4]);
  assert.ok(many.length <= 200);
  assert.equal(many.at(-1)!.guidance, 5.299);
});

test('forecasts say what they rest on: the images that are recorded, or the prior', () => {
  assert.match(basisOf(BUNDLED_CONVERGENCE), /^the prior only: the bundled model's figures/);
  assert.match(basisOf(undefined), /^the bundled model's figures, since latencies/);
  assert.match(basisOf(UNKNOWN_CONVERGENCE), /^the prior only: 3 times/);
  const records = withRuns(withRuns([], keyOf(PARTITION), [2, 2]), keyOf(defaultPartition(25)), [2]);
  const basis = basisOf({ ...UNKNOWN_CONVERGENCE, records });
  assert.equal(basis, 'records of this model: 3 images with srds, none with picard');
});
