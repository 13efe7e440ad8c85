import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { mixtureDenoiser, smoothGrid } from 'srds/conformance';
import { Batcher } from 'srds/engine';
import {
  BUNDLED_CONVERGENCE,
  expectedIterations,
  expectedPasses,
  latency,
  parseCurve,
  plan,
  rowsNotWorthSplitting,
  rowsThatPay,
  type LatencyCurve,
  forecastSerial,
  forecastSrds,
  simulateSrds,
  type Machine,
} from 'srds/planner';
import { Generator } from 'srds/random';
import { criticalPath, drive } from 'srds/run';
import { defaultPartition, evenPartition, type Iterate, type Partition } from 'srds/sampler';
import { picard, serial, srds } from 'srds/sampler';
import { ddim } from 'srds/solver';
import { unmeasuredBuckets } from '../../src/planner/curve.js';
import { virtualDenoiser, VirtualEngine } from '../support/virtual.js';

const points = (...pairs: [number, number][]) => pairs.map(([rows, seconds]) => ({ rows, seconds }));
const FLAT: LatencyCurve = { padded: false, points: points([2, 0.01], [4096, 0.01]) };
const LINEAR: LatencyCurve = { padded: false, points: points([2, 0.02], [4, 0.04]) };
const STEPPED: LatencyCurve = {
  padded: true,
  points: points([2, 0.006], [8, 0.007], [32, 0.008], [64, 0.011], [128, 0.016]),
};
const BENT: LatencyCurve = { padded: false, points: points([2, 0.01], [16, 0.012], [32, 0.024], [64, 0.048]) };

function machineOf(curve: LatencyCurve, devices = 1, maxRows = 128): Machine {
  return { devices: Array.from({ length: devices }, () => curve), rowsPerEvaluation: 2, maxRows };
}

/** A denoiser on simulated devices, with batches as the planner wants them. @param maxClientRows of its largest; default: the engine's */
const denoiserOn = (engine: VirtualEngine, { devices, splitsRows }: Machine, maxClientRows?: number) =>
  virtualDenoiser(new Batcher(engine), 0, { maxClientRows, minRows: rowsNotWorthSplitting(devices[0]), splitsRows });

/** Seconds in virtual time that picard takes for so many passes. */
async function measuredPicard(machine: Machine, steps: number, window: number): Promise<number> {
  const engine = new VirtualEngine(machine);
  const maxIterations = Math.round(expectedPasses(steps, window));
  const sampler = picard({ x: Float32Array.of(0.7), steps: smoothGrid(steps), solver: ddim, window, maxIterations });
  await engine.until(drive(sampler, { denoiser: denoiserOn(engine, machine) }).result);
  return engine.now;
}

/** Seconds in virtual time that a real sampler takes on a machine. */
async function measured(
  machine: Machine,
  steps: number,
  partition?: Partition,
  iterations = 0,
  maxClientRows?: number,
): Promise<number> {
  const engine = new VirtualEngine(machine);
  const denoiser = denoiserOn(engine, machine, maxClientRows);
  const common = { x: Float32Array.of(0.7), steps: smoothGrid(steps), solver: ddim };
  const residual = ({ iteration }: Iterate) => (iteration >= iterations ? 0 : 1);
  const run = partition
    ? drive(srds({ ...common, partition }), { denoiser, residual, tolerance: 0.5 })
    : drive(serial(common), { denoiser });
  const { status } = await engine.until(run.result);
  assert.ok(status === 'exact' || status === 'converged');
  return engine.now;
}

test('a latency is that of the bucket, or is on the line between two points', () => {
  assert.equal(latency(STEPPED, 3), 0.007);
  assert.equal(latency(STEPPED, 130), 0.016 + 0.006);
  assert.ok(Math.abs(latency(BENT, 24) - 0.018) < 1e-12);
  assert.ok(Math.abs(latency(LINEAR, 100) - 1) < 1e-12);
  assert.equal(latency(LINEAR, 1), 0.02);
});

test('where every batch costs one, the forecast is the critical path', () => {
  const machine = machineOf({ padded: false, points: points([2, 1], [100_000, 1]) }, 1, 100_000);
  for (const [steps, blocks] of [
    [25, 5],
    [25, 9],
    [100, 17],
    [12, 12],
    [7, 1],
  ]) {
    const partition = evenPartition(steps, blocks);
    for (let k = 1; k <= Math.min(blocks, 4); k++) {
      const { seconds, critical } = simulateSrds(partition, k, machine);
      assert.equal(critical, criticalPath(partition, k), `${steps} steps, ${blocks} blocks, ${k} iterations`);
      assert.equal(seconds, critical);
    }
  }
});

for (const [name, curve] of Object.entries({ FLAT, LINEAR, STEPPED, BENT })) {
  test(`${name}: forecasts are what the sampler and the batcher take on simulated devices, up to 64 of them`, async () => {
    for (const devices of [1, 2, 7, 64]) {
      const machine = machineOf(curve, devices, name === 'LINEAR' ? 8 : 128);
      for (const [steps, blocks, iterations] of [
        [25, 9, 3],
        [60, 12, 2],
      ]) {
        const partition = evenPartition(steps, blocks);
        const forecast = simulateSrds(partition, iterations, machine).seconds;
        const real = await measured(machine, steps, partition, iterations);
        assert.ok(
          Math.abs(forecast / real - 1) < 0.1,
          `${devices} devices, ${steps} steps: ${forecast} against ${real}`,
        );
        const alone = forecastSerial({ steps }, machine).seconds;
        assert.ok(Math.abs(alone / (await measured(machine, steps)) - 1) < 1e-9);
      }
    }
  });

  test(`${name}: the choice is at most 5 % slower than the best of serial, srds and, from 50 steps on, picard`, async () => {
    for (const devices of [1, 4]) {
      const machine = machineOf(curve, devices, name === 'LINEAR' ? 8 : 128);
      for (const steps of [1, 2, 10, 25, 100]) {
        const { chosen, reason } = plan({ steps }, machine);
        assert.ok(reason.length > 0);
        // A fraction of an iteration stands for a mean over samples.
        const timeOf = async (partition: Partition, rows?: number) => {
          const iterations = expectedIterations(partition);
          const low = Math.max(1, Math.floor(iterations));
          const few = await measured(machine, steps, partition, low, rows);
          const more = await measured(machine, steps, partition, low + 1, rows);
          return few + (iterations - low) * (more - few);
        };
        const alone = await measured(machine, steps);
        const square = steps > 3 ? await timeOf(evenPartition(steps, Math.round(Math.sqrt(steps)))) : alone;
        const whole = steps >= 50 ? await measuredPicard(machine, steps, steps) : alone;
        const taken =
          chosen.sampler === 'srds'
            ? await timeOf(chosen.partition, chosen.maxRows)
            : chosen.sampler === 'picard'
              ? await measuredPicard(machine, steps, chosen.window)
              : alone;
        assert.ok(steps >= 50 || chosen.sampler !== 'picard');
        assert.ok(
          taken <= 1.05 * Math.min(alone, square, whole),
          `${devices} devices, ${steps} steps: ${taken}, ${alone}, ${square}, ${whole}`,
        );
      }
    }
  });
}

test('where rows take turns the serial sampler is chosen, where they are free another one', () => {
  assert.equal(plan({ steps: 25 }, machineOf(LINEAR, 1, 8)).chosen.sampler, 'serial');
  assert.notEqual(plan({ steps: 25 }, machineOf(FLAT)).chosen.sampler, 'serial');
  assert.equal(plan({ steps: 25 }, machineOf(STEPPED)).chosen.sampler, 'srds');
  assert.equal(plan({ steps: 100 }, machineOf(FLAT)).chosen.sampler, 'picard');
  // All steps in the window fill more than a batch.
  assert.equal(plan({ steps: 100 }, machineOf(STEPPED)).chosen.sampler, 'srds');
  assert.equal(plan({ steps: 100, partition: evenPartition(100, 17) }, machineOf(STEPPED)).chosen.sampler, 'srds');
  assert.equal(plan({ steps: 100, evaluationsPerStep: 2 }, machineOf(STEPPED)).chosen.sampler, 'srds');
});

test('evaluations of the default blocks are forecast, and so is the time', async () => {
  for (const [curve, maxRows] of [
    [LINEAR, 2],
    [FLAT, 4096],
    [STEPPED, 128],
  ] as const) {
    const machine = machineOf(curve, 1, maxRows);
    for (const steps of [7, 25, 50, 100]) {
      const partition = defaultPartition(steps);
      for (const iterations of [1, 2, 3]) {
        const engine = new VirtualEngine(machine);
        const denoiser = denoiserOn(engine, machine);
        const residual = ({ iteration }: Iterate) => (iteration >= iterations ? 0 : 1);
        const given = { x: Float32Array.of(0.7), steps: smoothGrid(steps), solver: ddim };
        const { evaluations } = await engine.until(
          drive(srds({ ...given, partition }), { denoiser, residual, tolerance: 0.5 }).result,
        );
        const { critical, total, seconds } = simulateSrds(partition, iterations, machine);
        const what = `${steps} steps, ${iterations} iterations, ${maxRows} rows`;
        assert.equal(critical, evaluations.critical, what);
        // A state that comes out as it was the iteration before is not refined again, which no forecast sees.
        assert.ok(
          total >= evaluations.total && total <= 1.07 * evaluations.total,
          `${what}: ${total}, ${evaluations.total}`,
        );
        assert.ok(seconds / engine.now > 1 - 1e-9 && seconds / engine.now < 1.03, what);
      }
    }
  }
});

test('SRDS fills batches as far as makes it fastest, and is forecast and measured to be faster for it', async () => {
  // Rows are nearly free up to 16, and cost more and more beyond.
  const curve = { padded: true, points: points([2, 0.004], [16, 0.0044], [32, 0.006], [64, 0.01], [128, 0.018]) };
  const machine = machineOf(curve);
  const partition = defaultPartition(196);
  const { candidates } = plan({ steps: 196, partition }, machine);
  const [, chosen] = candidates;
  assert.ok(chosen.sampler === 'srds' && chosen.maxRows > 2 && chosen.maxRows < 64, JSON.stringify(chosen));
  for (const iterations of [1, 2]) {
    const forecast = simulateSrds(partition, iterations, { ...machine, maxRows: chosen.maxRows }).seconds;
    const real = await measured(machine, 196, partition, iterations, chosen.maxRows);
    assert.ok(Math.abs(forecast / real - 1) < 0.1, `${iterations} iterations: ${forecast} against ${real}`);
    const whole = await measured(machine, 196, partition, iterations);
    assert.ok(real < 0.95 * whole, `${iterations} iterations: ${real} against ${whole}`);
  }
  const [, free] = plan({ steps: 196, partition }, machineOf(FLAT)).candidates;
  assert.ok(free.sampler === 'srds' && free.maxRows === 128);
});

test('the serial sampler has a device alone, SRDS all of them together', () => {
  const curve = { ...LINEAR, aloneSeconds: 0.01 };
  assert.ok(Math.abs(forecastSerial({ steps: 25 }, machineOf(curve, 2)).seconds - 25 * 0.01) < 1e-9);
  assert.equal(
    simulateSrds(evenPartition(25, 5), 2, machineOf(curve, 2)).seconds,
    simulateSrds(evenPartition(25, 5), 2, machineOf(LINEAR, 2)).seconds,
  );
  assert.equal(parseCurve(curve, 'curve.json').aloneSeconds, 0.01);
});

test('devices that share the rows of a serial evaluation take the time of one row; the forecast is what the batcher takes', async () => {
  const curve = { points: points([1, 0.007], [2, 0.01], [4, 0.016], [8, 0.028]), padded: true };
  const machine = { ...machineOf(curve, 2, 8), splitsRows: true };
  for (const seconds of [forecastSerial({ steps: 25 }, machine).seconds, await measured(machine, 25)]) {
    assert.ok(Math.abs(seconds - 25 * 0.007) < 1e-9, `${seconds}`);
  }
  // A gain over that needs more.
  const before = plan({ steps: 25 }, { ...machine, splitsRows: false }).candidates;
  const after = plan({ steps: 25 }, machine).candidates;
  assert.deepEqual(after.map(({ seconds }) => seconds).slice(1), before.map(({ seconds }) => seconds).slice(1));
  assert.ok(after[1].speedUp < before[1].speedUp);
});

test('concurrent generations are spread over the devices, serial ones too', () => {
  const four = { ...machineOf(LINEAR, 4, 2), images: 4 };
  assert.ok(Math.abs(forecastSerial({ steps: 25 }, four).seconds - 25 * 0.02) < 1e-9);
  assert.equal(plan({ steps: 25 }, four).chosen.sampler, 'serial');
  assert.equal(plan({ steps: 25 }, { ...machineOf(STEPPED), images: 4 }).chosen.sampler, 'srds');
});

test('a smaller tolerance takes more iterations, and the serial sampler may be faster then', () => {
  const machine = machineOf(STEPPED);
  assert.equal(plan({ steps: 25, tolerance: 0.5 }, machine).chosen.sampler, 'srds');
  assert.equal(plan({ steps: 25, tolerance: 1e-6 }, machine).chosen.sampler, 'serial');
  assert.equal(plan({ steps: 25, tolerance: 1e-6, maxIterations: 1 }, machine).chosen.sampler, 'srds');
});

test('with a last iteration, forecasts count no evaluation of a later one', () => {
  const machine = { devices: [{ points: [{ rows: 1, seconds: 1 }], padded: false }], rowsPerEvaluation: 1, maxRows: 4 };
  // The coarse sweep, four more steps of each block, and the coarse steps of the first iteration.
  assert.equal(forecastSrds([5, 5, 5, 5, 5], 1, machine, { maxIterations: 1 }).total, 5 + 20 + 4);
});

test('with barriers, SRDS is forecast as it runs, and by the last change more iterations are expected', async () => {
  const machine = machineOf({ padded: false, points: points([2, 1], [100_000, 1]) }, 1, 100_000);
  const denoiser = mixtureDenoiser({ means: [[0, 0]], weights: [1], deviation: 1 });
  for (const [blocks, maxIterations] of [
    [5, 1],
    [5, 3],
    [9, 2],
  ]) {
    const partition = evenPartition(25, blocks);
    const run = { partition, pipelined: false, maxIterations };
    const start = { x: new Generator(1).randn(2), steps: smoothGrid(25), solver: ddim };
    const { evaluations } = await drive(srds({ ...start, ...run }), { denoiser }).result;
    const forecast = forecastSrds(partition, 1, machine, { ...run, tolerance: 1e-9 });
    assert.equal(forecast.critical, evaluations.critical);
    assert.equal(forecast.total, evaluations.total);
  }
  const secondsOf = (rule: object) => forecastSrds(defaultPartition(25), 1, machine, rule).seconds;
  assert.ok(secondsOf({}) < secondsOf({ looksAhead: false }));
  assert.ok(secondsOf({ looksAhead: false }) < secondsOf({ pipelined: false }));
  assert.equal(plan({ steps: 25 }, machine).chosen.sampler, 'srds');
  // Longer than 25 steps.
  assert.equal(plan({ steps: 25, pipelined: false }, machine).chosen.sampler, 'serial');
});

test('where the image of each iteration is decoded, forecasts count the decoding, and the serial sampler may be faster then', () => {
  const machine = { ...machineOf(FLAT), decodeSeconds: 0.02 };
  const partition = defaultPartition(50);
  const [without, each] = [false, true].map((decodesEach) => forecastSrds(partition, 1, machine, { decodesEach }));
  const decodings = (each.seconds - without.seconds) / machine.decodeSeconds;
  assert.ok(Math.abs(decodings - expectedIterations(partition)) < 1e-9);
  // With barriers and by the last change all devices wait for a decoding.
  for (const pipelined of [true, false]) {
    const rule = { pipelined, looksAhead: false };
    const [one, four] = [1, 4].map((devices) => {
      const many = { ...machineOf(FLAT, devices), decodeSeconds: 0.02 };
      const [bare, all] = [false, true].map((decodesEach) =>
        forecastSrds(partition, 1, many, { ...rule, decodesEach }),
      );
      return all.seconds - bare.seconds;
    });
    assert.ok(Math.abs(one / four - (pipelined ? 4 : 1)) < 1e-9);
  }
  // picard is for 50 steps and more.
  assert.equal(plan({ steps: 25, decodesEach: true }, machine).chosen.sampler, 'srds');
  const slow = { ...machine, decodeSeconds: 0.1 };
  assert.equal(plan({ steps: 25, decodesEach: true }, slow).chosen.sampler, 'serial');
  assert.equal(plan({ steps: 25 }, slow).chosen.sampler, 'srds');
});

test('more devices are never slower, by forecast', () => {
  let before = Infinity;
  for (const devices of [1, 2, 4, 8, 16, 32, 64]) {
    const { seconds } = simulateSrds(evenPartition(100, 17), 2, machineOf(LINEAR, devices, 8));
    assert.ok(seconds <= before * 1.001, `${devices} devices`);
    before = seconds;
  }
});

test('picard keeps all devices busy: four of them make a pass over a window four times as fast where rows take turns', async () => {
  const times: number[] = [];
  for (const devices of [1, 4]) {
    const machine = machineOf(LINEAR, devices, 8);
    const engine = new VirtualEngine(machine);
    const denoiser = denoiserOn(engine, machine);
    const sampler = picard({ x: Float32Array.of(0.7), steps: smoothGrid(33), solver: ddim, maxIterations: 2 });
    const run = drive(sampler, { denoiser });
    await engine.until(run.result);
    times.push(engine.now);
  }
  assert.ok(times[0] / times[1] > 3.5, times.join());
});

test('an invalid curve is refused with the reason', () => {
  for (const content of [null, {}, { points: [] }, { points: [{ rows: 0, seconds: 1 }] }, { points: [{ rows: 1 }] }]) {
    assert.throws(() => parseCurve(content, 'curve.json'), { code: 'INVALID_OPTION', message: /curve\.json/ });
  }
  assert.deepEqual(
    parseCurve({ points: points([8, 0.2], [2, 0.1]), device: 'x' }, 'curve.json').points.map(({ rows }) => rows),
    [2, 8],
  );
});

test('the largest useful batch: all rows of a flat curve, up to the knee of a bent one, one evaluation of a linear one', () => {
  const curve = (seconds: (rows: number) => number) => ({
    padded: true,
    points: [2, 8, 16, 32, 64].map((rows) => ({ rows, seconds: seconds(rows) })),
  });
  assert.equal(rowsThatPay(curve(() => 0.01)), 64);
  assert.equal(rowsThatPay(curve((rows) => 0.01 * Math.max(1, rows / 16))), 16);
  assert.equal(rowsThatPay(curve((rows) => 0.01 * rows)), 2);
});

test('batches that take about as long as the smallest are not split over devices', async () => {
  assert.deepEqual([STEPPED, LINEAR, FLAT].map(rowsNotWorthSplitting), [2, 2, 4096]);
  const steps = 25;
  const partition = defaultPartition(steps);
  const [one, two] = [machineOf(FLAT), machineOf(FLAT, 2)];
  const { batches, seconds } = simulateSrds(partition, 1, two);
  assert.equal(seconds, simulateSrds(partition, 1, one).seconds);
  assert.equal(batches, simulateSrds(partition, 1, one).batches);
  assert.ok(Math.abs((await measured(two, steps, partition, 1)) / seconds - 1) < 0.1);
});

test('where nothing was measured, batches of a large network are small: one GPU is full with them', () => {
  const buckets = [2, 4, 8, 16, 32, 64, 128];
  const rows = (parameters: number, side: number) => rowsThatPay(unmeasuredBuckets(buckets, parameters * side ** 2));
  // The bundled network, Stable Diffusion 2.1 and SDXL at their sizes. Batches of the first two were measured: docs/benchmarks.md.
  assert.deepEqual([rows(16e6, 32), rows(866e6, 64), rows(2.6e9, 128)], [128, 16, 2]);
});

const MEASURED = JSON.parse(
  readFileSync(new URL('../../../benchmarks/results/h200-one-gpu.json', import.meta.url), 'utf8'),
) as {
  forecasts: {
    curve: unknown;
    runs: { steps: number; sampler: 'serial' | 'srds'; iterations: number; samplingMs: { mean: number } }[];
  };
};
for (const { steps, sampler, iterations, samplingMs } of MEASURED.forecasts.runs) {
  test(`on the latency curve of an H200, ${sampler} with ${steps} steps is forecast within 10 % of what it took there`, () => {
    const machine = { devices: [parseCurve(MEASURED.forecasts.curve, 'results')], rowsPerEvaluation: 2, maxRows: 96 };
    const partition = defaultPartition(steps);
    // A record that outweighs all else.
    const record = { sampler: 'srds' as const, steps, parts: partition.length, tolerance: 0.08, guidance: 5, runs: 1 };
    const records = [{ ...record, iterations, expected: 2 }];
    const convergence = { ...BUNDLED_CONVERGENCE, guidance: 5, priorRuns: 1e-9, records };
    const { seconds } =
      sampler === 'serial'
        ? forecastSerial({ steps }, machine)
        : forecastSrds(partition, 1, { ...machine, convergence }, { tolerance: 0.08 });
    assert.ok(Math.abs((1000 * seconds) / samplingMs.mean - 1) < 0.1, `${1000 * seconds} ms for ${samplingMs.mean}`);
  });
}
