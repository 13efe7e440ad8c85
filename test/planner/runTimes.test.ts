import assert from 'node:assert/strict';
import { test } from 'node:test';
import { curveOf, forecastSerial, simulateSrds, withRunTimes, type Measurements, type TimedBatch } from 'srds/planner';
import { defaultPartition } from 'srds/sampler';
import { hostTime } from '../../src/run/simulate.js';

const ROWS = 2;
const KNOWN: Measurements = {
  points: [2, 8, 32].map((rows) => ({ rows, seconds: 0.01 * rows, steady: true })),
  hostSeconds: 0.001,
  complete: true,
};

/** Batches one after the other, with what the host takes between them. */
function run(
  evaluations: readonly number[],
  secondsOf: (rows: number) => number,
  hostSecondsOf: (evaluations: number, k: number) => number,
): TimedBatch[] {
  const batches: TimedBatch[] = [];
  let now = 0;
  for (const [k, count] of evaluations.entries()) {
    const rows = ROWS * count;
    const end = now + 1000 * secondsOf(rows);
    batches.push({ begin: now, end, rows, evaluations: count });
    now = end + 1000 * hostSecondsOf(count, k);
  }
  return batches;
}
const times = (count: number, evaluations: number) => Array<number>(count).fill(evaluations);
const known = (rows: number) => 0.01 * rows;
const secondsOf = ({ points }: Measurements, rows: number) => points.find((one) => one.rows === rows)!.seconds;
const near = (found: number | undefined, expected: number) =>
  assert.ok(Math.abs(found! / expected - 1) < 1e-6, `${found} for ${expected}`);

test('of a host that takes longer than was measured, runs of both kinds show by how much', () => {
  const [one, each] = [0.004, 0.0025];
  let learned = KNOWN;
  for (let k = 0; k < 30; k++) {
    learned = withRunTimes(
      learned,
      run(times(25, 1), known, () => one),
      true,
    );
    const mixed = run([...times(10, 4), ...times(5, 16), 1, 2], known, (count) => one + each * (count - 1));
    learned = withRunTimes(learned, mixed, true);
  }
  // Times within 5 % count as the same. What is left of the one is in the other.
  assert.ok(Math.abs(learned.hostSeconds! / one - 1) <= 0.05, `${learned.hostSeconds}`);
  assert.ok(Math.abs(learned.hostSecondsEach! / each - 1) <= 0.08, `${learned.hostSecondsEach}`);
  const curve = curveOf(learned, true)!;
  const machine = { devices: [curve], rowsPerEvaluation: ROWS, maxRows: 32 };
  const { seconds } = forecastSerial({ steps: 25 }, machine);
  assert.ok(Math.abs(seconds / (25 * (0.02 + one)) - 1) < 0.05, `${seconds}`);
  // What SRDS takes of the host grows as much as its batches.
  const before = simulateSrds(defaultPartition(100), 2, { ...machine, devices: [curveOf(KNOWN, true)!] });
  const after = simulateSrds(defaultPartition(100), 2, machine);
  assert.ok(after.seconds > before.seconds);
  near(hostTime(curve, 9), curve.hostSeconds! + 8 * curve.hostSecondsEach!);
});

test('a run moves what is known by 0.3 of the difference, in either direction', () => {
  const half = withRunTimes(
    KNOWN,
    run(
      times(10, 4),
      (rows) => known(rows) / 2,
      () => 0.001,
    ),
    true,
  );
  near(secondsOf(half, 8), 0.08 - 0.3 * 0.04);
  const double = withRunTimes(
    KNOWN,
    run(
      times(10, 4),
      (rows) => 2 * known(rows),
      () => 0.001,
    ),
    true,
  );
  near(secondsOf(double, 8), 0.08 + 0.3 * 0.08);
  const quick = withRunTimes(
    KNOWN,
    run(times(10, 1), known, () => 0.0002),
    true,
  );
  near(quick.hostSeconds, 0.001 - 0.3 * 0.0008);
});

test('sizes that a run did not have change as much as those that it had, so that a busy machine favours no sampler', () => {
  let learned = KNOWN;
  for (let k = 0; k < 10; k++)
    learned = withRunTimes(
      learned,
      run(
        times(25, 1),
        (rows) => 3 * known(rows),
        () => 0.001,
      ),
      true,
    );
  const [small, , large] = learned.points;
  assert.ok(small.seconds > 2.8 * 0.02, `${small.seconds}`);
  near(large.seconds / small.seconds, 16);
  // Sizes that a run had change on their own.
  const mixed = run(
    [...times(10, 4), ...times(10, 16)],
    (rows) => known(rows) * (rows === 8 ? 2 : 1),
    () => 0.001,
  );
  const own = withRunTimes(KNOWN, mixed, true);
  near(secondsOf(own, 8), 0.08 + 0.3 * 0.08);
  near(secondsOf(own, 32), 0.32);
  near(secondsOf(own, 2), 0.02 * Math.sqrt(1.3));
});

test('what differs little, too few batches, or those of a busy machine change nothing', () => {
  const unchanged = (batches: readonly TimedBatch[], showsHost = true) =>
    assert.equal(withRunTimes(KNOWN, batches, showsHost), KNOWN);
  unchanged(
    run(
      times(20, 1),
      (rows) => 1.04 * known(rows),
      () => 0.00104,
    ),
  );
  unchanged(
    run(
      times(2, 1),
      (rows) => 9 * known(rows),
      () => 0.1,
    ),
  );
  const busy = run(times(20, 1), known, () => 0.001).map((batch, k) => ({ ...batch, end: batch.end + (k % 3) * 20 }));
  assert.deepEqual(withRunTimes(KNOWN, busy, false).points, KNOWN.points);
  // Images are decoded between the batches.
  unchanged(
    run(times(20, 4), known, () => 0.5),
    false,
  );
});

test('other work of the process in one gap hardly counts', () => {
  const usual = withRunTimes(
    KNOWN,
    run(times(40, 4), known, () => 0.01),
    true,
  );
  const paused = withRunTimes(
    KNOWN,
    run(times(40, 4), known, (_, k) => (k === 7 ? 1 : 0.01)),
    true,
  );
  near(usual.hostSecondsEach, 0.003);
  assert.ok(paused.hostSecondsEach! < 1.12 * usual.hostSecondsEach!, `${paused.hostSecondsEach}`);
});

test('a run confirms a point of which one measurement was made, if they agree', () => {
  const open = { ...KNOWN, points: KNOWN.points.map((one) => ({ ...one, steady: false })) };
  const steady = (batches: readonly TimedBatch[]) => withRunTimes(open, batches, true).points.map((one) => one.steady);
  assert.deepEqual(steady(run(times(10, 4), known, () => 0.001)), [false, true, false]);
  assert.deepEqual(
    steady(
      run(
        times(10, 4),
        (rows) => 3 * known(rows),
        () => 0.001,
      ),
    ),
    [false, false, false],
  );
});
