import assert from 'node:assert/strict';
import { test } from 'node:test';
import { curveOf, forecastSerial, withRunTimes, type Measurements, type TimedRun } from 'srds/planner';
import { hostTime } from '../../src/run/simulate.js';

const ROWS = 2;
const KNOWN: Measurements = {
  points: [2, 8, 32].map((rows) => ({ rows, seconds: 0.01 * rows, steady: true })),
  hostSeconds: 0.001,
  complete: true,
};
/** What is known of a batch, and of the host after it. */
const latency = (rows: number) => 0.01 * rows;
const host = (evaluations: number) => 0.001 + 0.00035 * (evaluations - 1);

/** A run of batches of so many evaluations, with so many seconds for a batch and for the host after it. */
function run(
  evaluations: readonly number[],
  secondsOf: (rows: number, k: number) => number = latency,
  hostSecondsOf: (evaluations: number, k: number) => number = host,
  showsHost = true,
): TimedRun {
  let now = 0;
  const batches = evaluations.map((count, k) => {
    const begin = now;
    const end = begin + 1000 * secondsOf(ROWS * count, k);
    now = end + 1000 * hostSecondsOf(count, k);
    return { begin, end, rows: ROWS * count, evaluations: count };
  });
  return { batches, showsHost };
}
const serial = Array<number>(25).fill(1);
/** Batches of SRDS: sizes vary, and each follows one of another size. */
const parallel = Array.from({ length: 12 }, () => [1, 16, 4]).flat();
const thrice = (one: TimedRun) => [one, one, one];
const secondsOf = ({ points }: Measurements, rows: number) => points.find((one) => one.rows === rows)!.seconds;
const near = (found: number | undefined, expected: number) =>
  assert.ok(Math.abs(found! / expected - 1) < 1e-6, `${found} for ${expected}`);

test('the cost of the host is that between batches, by the evaluations of the batch before', () => {
  const [one, each] = [0.04, 0.025];
  const slow = (evaluations: number) => one + each * (evaluations - 1);
  for (const runs of [
    thrice(run(parallel, latency, slow)),
    [serial, parallel, serial].map((one) => run(one, latency, slow)),
  ]) {
    const learned = withRunTimes(KNOWN, runs);
    near(learned.hostSeconds, one);
    near(learned.hostSecondsEach, each);
    for (const { rows, seconds } of learned.points) near(seconds, latency(rows));
    const curve = curveOf(learned, true)!;
    near(forecastSerial({ steps: 25 }, { devices: [curve], rowsPerEvaluation: ROWS, maxRows: 32 }).seconds, 25 * 0.06);
    near(hostTime(curve, 9), slow(9));
  }
});

test('serial runs change the cost of further evaluations by the same factor', () => {
  const learned = withRunTimes(KNOWN, thrice(run(serial, latency, () => 0.02)));
  near(learned.hostSeconds, 0.02);
  // By default in proportion.
  assert.equal(learned.hostSecondsEach, undefined);
  const known = { ...KNOWN, hostSecondsEach: 0.0005 };
  near(withRunTimes(known, thrice(run(serial, latency, () => 0.02))).hostSecondsEach, 0.01);
  // Of a host of which nothing is known, they say what one evaluation costs.
  const unknown = { ...KNOWN, hostSeconds: undefined };
  near(withRunTimes(unknown, thrice(run(serial, latency, () => 0.02))).hostSeconds, 0.02);
  const none = withRunTimes({ ...KNOWN, hostSeconds: 0, hostSecondsEach: 0 }, thrice(run(serial, latency, () => 0.02)));
  assert.equal(none.hostSecondsEach, undefined);
  // Starting a batch may be most of it.
  near(withRunTimes(KNOWN, thrice(run(parallel, latency, (count) => 0.3 + 0.01 * count))).hostSecondsEach, 0.01);
});

test('sizes that the runs did not have change as much as the others, so that a busy machine favours no sampler', () => {
  const learned = withRunTimes(KNOWN, thrice(run(serial, (rows) => 3 * latency(rows))));
  for (const { rows, seconds } of learned.points) near(seconds, 3 * latency(rows));
  // Sizes that they had change on their own.
  const mixed = withRunTimes(KNOWN, thrice(run(parallel, (rows) => latency(rows) * (rows === 32 ? 2 : 1))));
  near(secondsOf(mixed, 32), 0.64);
  near(secondsOf(mixed, 8), 0.08);
});

test('what is known stands unless each of three runs took longer, or each shorter', () => {
  const stands = (...runs: TimedRun[]) => assert.equal(withRunTimes(KNOWN, runs), KNOWN);
  stands(run(serial), run(parallel), run(serial));
  stands(...thrice(run(parallel, (rows) => 1.06 * latency(rows))));
  stands(...thrice(run(serial, latency, () => 0.002)));
  // One that was slower, or runs of which some were slower and some faster.
  const slower = run(serial, (rows) => 4 * latency(rows));
  stands(run(serial), slower, run(serial));
  stands(
    slower,
    slower,
    run(serial, (rows) => latency(rows) / 2),
  );
  stands(slower, slower);
  // Too few batches, no batches of a known size, and no runs.
  stands(...thrice(run([1], (rows) => 9 * latency(rows))));
  stands(...thrice(run(Array<number>(9).fill(3), () => 1)));
  stands();
  const empty = { points: [], complete: false };
  assert.equal(withRunTimes(empty, thrice(run(serial))), empty);
});

test('the first batch of a size, which may open its bucket, says nothing', () => {
  const opened = new Set<number>();
  const opening = (rows: number) => (opened.has(rows) ? latency(rows) : (opened.add(rows), 1));
  assert.equal(withRunTimes(KNOWN, [run([1, 1, 1, 1, 16, 16, 4, 4, 4], opening)]), KNOWN);
  // Three processes that open theirs.
  const each = [0, 1, 2].map(() => {
    opened.clear();
    return run([1, 1, 1, 16, 4], opening);
  });
  assert.equal(withRunTimes(KNOWN, each), KNOWN);
});

test('times of a machine that is busy now and then change nothing', () => {
  const busy = run(serial, (rows, k) => latency(rows) * (1 + (k % 3)));
  assert.equal(withRunTimes(KNOWN, thrice(busy)), KNOWN);
});

test('decoding and other work between batches is none of the host', () => {
  assert.equal(withRunTimes(KNOWN, thrice(run(serial, latency, () => 0.5, false))), KNOWN);
  const paused = run(parallel, latency, (count, k) => (k === 7 ? 5 : host(count)));
  assert.equal(withRunTimes(KNOWN, thrice(paused)), KNOWN);
  // A gap that ends before it begins, where a clock stands still.
  assert.equal(withRunTimes(KNOWN, thrice(run(serial, latency, () => -0.001))), KNOWN);
});

test('whatever the gaps are, the first evaluation of a batch costs the host at least what a further one does', () => {
  for (const power of [-2, -1, 0, 0.5, 1, 1.3, 2, 3])
    for (const offset of [0, 0.1, 1]) {
      const gap = (count: number) => 0.03 * count ** power + offset;
      const runs = thrice(run(parallel, (rows) => 2 * latency(rows), gap));
      const { hostSeconds, hostSecondsEach } = withRunTimes(KNOWN, runs);
      assert.ok(
        hostSecondsEach! >= 0 && hostSeconds! > 0.999 * hostSecondsEach!,
        `${power}, ${offset}: ${hostSeconds}`,
      );
    }
});

test('gaps after batches of about the same size change both parts of the cost of the host by one factor', () => {
  const sizes = [...Array<number>(20).fill(16), 15, 14, 16];
  const known = { ...KNOWN, hostSecondsEach: 0.0005 };
  const uneven = (count: number) => (count === 16 ? 0.05 : 0.2);
  const { hostSeconds, hostSecondsEach } = withRunTimes(known, thrice(run(sizes, latency, uneven)));
  assert.ok(hostSeconds! > 0.004);
  near(hostSecondsEach! / hostSeconds!, 0.5);
});
