import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mixtureDenoiser, smoothGrid } from 'srds/conformance';
import { Generator } from 'srds/random';
import { drive, type Denoiser } from 'srds/run';
import { serial, srds } from 'srds/sampler';
import { ddim, toPrediction } from 'srds/solver';
import { rmsDifference } from '../../src/tensor/operations.js';
import { changeBeyondRounding } from '../../src/sampler/rounding.js';

const SIZE = 512;
const LIMIT = 0.05;
const exact = mixtureDenoiser({
  means: [1, 2].map((seed) => [...new Generator(seed).randn(SIZE)]),
  weights: [0.5, 0.5],
  deviation: 0.5,
});

/** A denoiser whose errors are those of a long computation in half precision: other ones for every input, however near. */
const coarse =
  (salt: number): Denoiser =>
  async (request) => {
    const { epsilon } = await exact(request);
    const sum = request.x.reduce((total, value, k) => total + value * Math.sin(k), 0);
    const errors = new Generator((salt + Math.abs(Math.round(sum * 1e9))) % 2 ** 32).randn(SIZE);
    const output = epsilon.map((value, k) => value + 0.02 * errors[k]);
    return toPrediction('epsilon', request.x, output, request.level.alphaBar);
  };

const steps = smoothGrid(50);
const start = (seed: number) => ({ x: new Generator(seed).randn(SIZE), steps, solver: ddim });

test('rounding of the denoiser does not keep a run from stopping, and stops it at the serial sample', async () => {
  for (const seed of [1, 2, 3, 4]) {
    const [given, options] = [start(seed), { denoiser: coarse(0), tolerance: 0.012 }];
    const expected = (await drive(serial(given), options).result).x;
    const other = (await drive(serial(given), { denoiser: coarse(1) }).result).x;
    const all = await drive(srds(given), options).result;
    const without = await drive(srds({ ...given, roundingLimit: LIMIT }), options).result;
    assert.equal(without.status, 'converged');
    assert.ok(without.iterations < all.iterations / 2, `${without.iterations} of ${all.iterations} iterations`);
    // Nearly as close as the serial sample with other rounding errors.
    const [error, floor] = [without.x, other].map((x) => rmsDifference(x, expected));
    assert.ok(error < 2 * floor, `${error}, and ${floor} between serial samples`);
  }
});

test('a limit of rounding changes little where the denoiser does not round', async () => {
  const options = { denoiser: exact, tolerance: 1e-3 };
  for (const seed of [1, 2, 3, 4]) {
    const given = start(seed);
    const expected = (await drive(serial(given), options).result).x;
    const { x } = await drive(srds({ ...given, roundingLimit: LIMIT }), options).result;
    assert.ok(rmsDifference(x, expected) < 1e-3, `seed ${seed}: ${rmsDifference(x, expected)}`);
  }
});

test('what is left of a change without rounding: independent errors vanish, a change that goes on stays', () => {
  const [a, b, c, d] = [1, 2, 3, 4].map((seed) => new Generator(seed).randn(100_000));
  const withError = (value: number, error: Float32Array) => error.map((e, k) => value * d[k] + 1e-3 * e);
  // Errors alone: the change is 1e-3 sqrt(2), of which less than a fifth is left.
  assert.ok(changeBeyondRounding(withError(0, a), withError(0, b), withError(0, c), 1) < 0.2 * Math.SQRT2 * 1e-3);
  // A change of 5e-3 in the same direction.
  const still = changeBeyondRounding(withError(0.015, a), withError(0.01, b), withError(0.005, c), 1);
  assert.ok(Math.abs(still - rmsDifference(withError(0.015, a), withError(0.01, b))) < 1e-12);
  // Above the limit all counts, also after a change above it, as of an iterate that overshoots.
  const [zero, far, near] = [0, 0.02, 0.0101].map((value) => Float32Array.of(value));
  assert.equal(changeBeyondRounding(near, far, zero, 0.01), rmsDifference(near, far));
  assert.equal(
    changeBeyondRounding(withError(0, a), withError(0, b), withError(0, c), 1e-3),
    rmsDifference(withError(0, a), withError(0, b)),
  );
});

test('a limit of rounding below 0 is refused', () => {
  assert.throws(() => srds({ ...start(1), roundingLimit: -1 }), { code: 'INVALID_OPTION' });
});
