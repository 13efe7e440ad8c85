import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  curveOf,
  expectedIterations,
  latency,
  plan,
  withRunTimes,
  type Candidate,
  type LatencyCurve,
  type Measurements,
  type TimedBatch,
} from 'srds/planner';
import { simulate } from 'srds/run';
import { serial, srds } from 'srds/sampler';
import { RecentRuns } from '../../src/pipeline/recentRuns.js';
import { rowsThatPay } from '../../src/planner/curve.js';
import { hostTime, simulatedSolver, simulatedSteps } from '../../src/run/simulate.js';

const ROWS = 2;
/** Milliseconds of a batch by its rows: a GPU that has room, one that has little, and a CPU. */
const ROOMY = [2, 8, 16, 24, 32, 64].map((rows) => ({ rows, milliseconds: 1 + rows / 50 }));
const FULL = [2, 8, 16, 32, 64].map((rows) => ({ rows, milliseconds: 0.85 + rows / 12 }));
const PROPORTIONAL = [2, 4, 8].map((rows) => ({ rows, milliseconds: 5 + 25 * rows }));

type Times = typeof ROOMY;
const truthOf = (times: Times, hostSeconds: number, hostSecondsEach: number): LatencyCurve => ({
  points: times.map(({ rows, milliseconds }) => ({ rows, seconds: milliseconds / 1000 })),
  padded: times !== PROPORTIONAL,
  hostSeconds,
  hostSecondsEach,
});
/** What was measured: some multiple of the truth, and nothing of what further evaluations cost the host. */
const measured = ({ points, hostSeconds }: LatencyCurve, factor = 1): Measurements => ({
  points: points.map(({ rows, seconds }) => ({ rows, seconds: factor * seconds, steady: true })),
  hostSeconds,
  complete: true,
});
const machineOf = (curve: LatencyCurve) => ({
  devices: [curve],
  rowsPerEvaluation: ROWS,
  maxRows: Math.max(ROWS, rowsThatPay(curve)),
});

/** The batches of a run, by how much slower the machine is at each. */
function runOf(
  chosen: Candidate,
  steps: number,
  truth: LatencyCurve,
  maxRows: number,
  slowness: () => number,
): TimedBatch[] {
  const options = { x: Float32Array.of(0), steps: simulatedSteps(steps), solver: simulatedSolver(1) };
  const partition = chosen.sampler === 'srds' ? chosen.partition : undefined;
  const machine = partition ? srds({ ...options, partition }) : serial(options);
  const iterations = partition ? Math.round(expectedIterations(partition)) : Infinity;
  const sizes: number[] = [];
  const device = (rows: number) => {
    sizes.push(rows);
    return latency(truth, rows);
  };
  simulate([machine], iterations, { ...truth, devices: [device], rowsPerEvaluation: ROWS, maxRows, minRows: 0 });
  let now = 0;
  return sizes.map((rows) => {
    const begin = now;
    const end = begin + 1000 * slowness() * latency(truth, rows);
    now = end + 1000 * slowness() * hostTime(truth, rows / ROWS);
    const padded = truth.padded
      ? (truth.points.find((point) => point.rows >= rows) ?? truth.points.at(-1)!).rows
      : rows;
    return { begin, end, rows: padded, evaluations: rows / ROWS };
  });
}

/** Numbers around 1, the same in each run of the tests. */
function noise(spread: number): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 1 + spread * (state / 2 ** 31 - 1);
  };
}

/** Images one after the other, as `auto` generates them. @param slownessOf how much slower the machine is at image k */
function images(truth: LatencyCurve, first: Measurements, steps: number, slownessOf: (k: number) => number = () => 1) {
  const recent = new RecentRuns();
  const vary = noise(0.06);
  const planned = (known: Measurements) => {
    const machine = machineOf(curveOf(known, truth.padded)!);
    return { known, machine, chosen: plan({ steps, windows: [] }, machine).chosen };
  };
  let now = planned(first);
  return Array.from({ length: 40 }, (_, k) => {
    const { known, machine, chosen } = now;
    const run = (slowness: () => number) => runOf(chosen, steps, truth, machine.maxRows, slowness);
    const ofImage = vary();
    const batches = run(() => slownessOf(k) * ofImage * vary());
    const quiet = run(() => 1).at(-1)!;
    const seconds = quiet.end / 1000 + hostTime(truth, quiet.evaluations);
    const runs = recent.add('', { batches, showsHost: true });
    const corrected = runs ? withRunTimes(known, runs) : known;
    if (corrected !== known) {
      recent.clear('');
      now = planned(corrected);
    }
    return { sampler: chosen.sampler, seconds, offBy: chosen.seconds / seconds - 1 };
  });
}

for (const steps of [25, 100]) {
  const hosts = [
    truthOf(ROOMY, 0.00008, 0.00005),
    truthOf(FULL, 0.0001, 0.00008),
    truthOf(PROPORTIONAL, 0.0003, 0.0001),
  ];
  const serialSeconds = (truth: LatencyCurve) => steps * (latency(truth, ROWS) + hostTime(truth, 1));

  test(`N = ${steps}: on hosts that further evaluations cost more than assumed, forecasts are right after four images`, () => {
    const [gpu, full] = hosts;
    const first = images(gpu, measured(gpu), steps);
    assert.ok(first[0].offBy < -0.05, `${first[0].offBy}`);
    for (const truth of [gpu, full]) {
      const { offBy } = images(truth, measured(truth), steps)[4];
      assert.ok(Math.abs(offBy) < 0.1, `${offBy}`);
    }
  });

  test(`N = ${steps}: after six images no sampler is chosen that is 5 % slower than the serial one`, () => {
    const busyFor = (from: number, to: number) => (k: number) => (k >= from && k < to ? 3 : 1);
    for (const truth of hosts)
      for (const slowness of [busyFor(0, 5), busyFor(5, 25), (k: number) => (k % 7 < 3 ? 2 : 1)])
        for (const factor of [1, 3]) {
          const all = images(truth, measured(truth, factor), steps, slowness);
          // Before, what the host takes is assumed, and times may differ too much to say something.
          for (const { seconds } of all.slice(6)) assert.ok(seconds < 1.05 * serialSeconds(truth), `${seconds}`);
        }
  });

  test(`N = ${steps}: SRDS stays chosen where it gains, also after the machine was busy`, () => {
    const [gpu] = hosts;
    const all = images(gpu, measured(gpu), steps, (k) => (k >= 5 && k < 25 ? 2 : 1));
    for (const { sampler } of all) assert.equal(sampler, 'srds');
    assert.ok(all.every(({ seconds }) => seconds < serialSeconds(gpu)));
  });
}
