import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mixtureDenoiser, smoothGrid } from 'srds/conformance';
import { Generator } from 'srds/random';
import { drive, lastChange, type DriveOptions } from 'srds/run';
import { defaultPartition, evenPartition, picard, serial, srds, type Sampler, type SerialOptions } from 'srds/sampler';
import { ddim } from 'srds/solver';
import { lookAheadBoundaries, predictedChange } from '../../src/sampler/lookAhead.js';
import { blocksOf } from '../../src/sampler/block.js';
import { MIXTURE } from '../support/mixture.js';

/** Two far modes with a steep boundary between them: near it, a sample bifurcates. */
const twoModes = (deviation: number) =>
  mixtureDenoiser({
    means: [
      [2, 2, 2],
      [-2, -2, -2],
    ],
    weights: [0.5, 0.5],
    deviation,
  });
const STEPS = 100;
const STARTS = 60;

/** Noise at a distance from the boundary, on either side. */
function start(index: number, distance: number) {
  const noise = new Generator(index).randn(3);
  const mean = (noise[0] + noise[1] + noise[2]) / 3;
  const signed = index % 2 === 0 ? distance : -distance;
  return { x: Float32Array.from(noise, (value) => value - mean + signed), steps: smoothGrid(STEPS), solver: ddim };
}

/** Number of starts whose sample is far from the serial one. */
async function wrongSamples(
  sampler: (start: SerialOptions) => Sampler,
  starts: readonly SerialOptions[],
  options: DriveOptions,
): Promise<number> {
  let wrong = 0;
  for (const given of starts) {
    const expected = (await drive(serial(given), options).result).x;
    const { x } = await drive(sampler(given), options).result;
    if (x.some((value, k) => Math.abs(value - expected[k]) > 0.5)) wrong++;
  }
  return wrong;
}

// Tolerances of half a grey level and of a tenth, with the scale of a VAE.
test('where a sample bifurcates, the last change stops at the other mode, and looking ahead does not', async () => {
  const denoiser = twoModes(0.1);
  const starts = Array.from({ length: STARTS }, (_, k) => start(k, 10 ** (-8 + (6 * k) / STARTS)));
  assert.ok((await wrongSamples(srds, starts, { denoiser, tolerance: 0.5 / 18, residual: lastChange })) > 0);
  assert.equal(await wrongSamples(srds, starts, { denoiser, tolerance: 0.1 / 18 }), 0);
});

test('where a sample bifurcates, the last change of the sample stops picard at the other mode, and that of all states does not', async () => {
  const denoiser = twoModes(0.3);
  const starts = Array.from({ length: STARTS }, (_, k) => start(k, 10 ** (-4 + k / STARTS)));
  const tolerance = 0.1 / 18;
  assert.ok((await wrongSamples(picard, starts, { denoiser, tolerance, residual: lastChange })) > 0);
  assert.equal(await wrongSamples(picard, starts, { denoiser, tolerance }), 0);
});

test('with any number of blocks, a run that predicts no small change goes on until it is ===', async () => {
  const denoiser = mixtureDenoiser(MIXTURE);
  const steps = smoothGrid(12);
  for (const seed of [1, 2, 3]) {
    const given = { x: new Generator(seed).randn(3), steps, solver: ddim };
    const expected = (await drive(serial(given), { denoiser }).result).x;
    for (let blocks = 2; blocks <= 12; blocks++) {
      for (const pipelined of [true, false]) {
        for (const correction of ['secant', 'parareal'] as const) {
          const options = { ...given, partition: evenPartition(12, blocks), pipelined, correction };
          const { x, status, residuals } = await drive(srds(options), { denoiser, tolerance: 1e-12 }).result;
          const what = `${blocks} blocks, ${correction}, ${pipelined ? 'pipelined' : 'with barriers'}: ${residuals.join()}`;
          assert.deepEqual([status, x], ['exact', expected], what);
        }
      }
    }
  }
});

test('two changes are predicted: the largest known one, grown as the last changes grew, and one that shrinks alike', () => {
  for (const [last, next, expected] of [
    // At least a fifth of the last change.
    [[0.1, 0.2, 0.4], [0.01, 0.03], 0.08 * (1 + 0.2)],
    [[0.1, 0.2, 0.4], [0.05, 0.03], 0.2 * (1 + 0.5)],
    // A change that shrank towards the end is not expected to grow.
    [[0.4, 0.2, 0.1], [0.05], 0.05 * (1 + 0.5)],
    // Changes are not expected to go on growing.
    [[0.1, 0.2, 0.4], [0.2], 0.8 * (1 + 1)],
    // Nothing is known of the next iteration.
    [[0.1, 0.2, 0.4], [], 0.4],
  ] as const) {
    assert.ok(Math.abs(predictedChange(last, next) - expected) < 1e-12);
  }
});

test('the boundaries that are known ahead follow from when each can be found', () => {
  for (const [steps, expected] of [
    [25, [9, 9, 9]],
    [50, [9, 9, 10]],
    [100, [11, 11, 11]],
  ] as const) {
    const blocks = blocksOf(smoothGrid(steps), defaultPartition(steps));
    assert.deepEqual(lookAheadBoundaries(blocks).slice(1, 4), expected);
  }
});

test('waiting for them takes no time: in lockstep an iteration is complete at its depth', async () => {
  const model = mixtureDenoiser(MIXTURE);
  const { signal } = new AbortController();
  for (const partition of [defaultPartition(25), defaultPartition(50), evenPartition(36, 6), [1, 3, 1, 5, 2], [7, 1]]) {
    const steps = smoothGrid(partition.reduce((sum, length) => sum + length, 0));
    const sampler = srds({ x: new Generator(2).randn(3), steps, solver: ddim, partition });
    let pending = sampler.ready();
    for (let tick = 1; pending.length > 0; tick++) {
      for (const task of pending) {
        sampler.finish(task, await model({ x: task.x, level: task.level, priority: [], signal }));
      }
      for (const { depth } of sampler.completed()) assert.equal(depth, tick, partition.join());
      pending = sampler.ready();
    }
  }
});
