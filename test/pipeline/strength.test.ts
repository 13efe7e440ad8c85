import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readModelFolder } from 'srds/model';
import type { SolverName } from 'srds/solver';
import { settingsOf } from '../../src/pipeline/options.js';
import { fixture } from '../support/fixtures.js';

const model = await readModelFolder(fixture('models/sd15'));
const init = { width: 64, height: 64, data: new Uint8Array(3 * 64 * 64) };

/** The timesteps of a run from an initial image. */
function timesteps(solver: SolverName, steps: number, strength: number): number[] {
  const settings = settingsOf({ prompt: '', solver, steps, strength, init, sampler: 'serial' }, model);
  return settings.grid.map(({ from }) => from.t);
}

test('the share of the steps that are taken is that of get_timesteps of diffusers, down to none', () => {
  for (const [steps, strength, taken] of [
    [10, 1, 10],
    [10, 0.99, 9],
    [10, 0.7, 7],
    [10, 0.3, 3],
    [10, 0.1, 1],
    // int(100 * 0.29) is 28 and int(100 * 0.57) is 56, because of rounding.
    [100, 0.29, 28],
    [100, 0.57, 56],
    [7, 0.15, 1],
  ] as const) {
    assert.equal(timesteps('ddim', steps, strength).length, taken, `${steps} ${strength}`);
    assert.equal(timesteps('heun', steps, strength).length, taken, `${steps} ${strength}`);
  }
  // diffusers fails where nothing is left.
  for (const [steps, strength] of [
    [10, 0],
    [10, 0.0999],
    [7, 0.14],
    [1, 0.99],
  ] as const) {
    for (const solver of ['ddim', 'ddpm', 'euler', 'heun', 'dpm2m'] as const) {
      assert.throws(() => timesteps(solver, steps, strength), {
        code: 'INVALID_OPTION',
        message: /a strength that leaves at least one step/,
      });
    }
  }
});

test('each refused strength comes with one that leaves a step', () => {
  for (let steps = 1; steps <= 1000; steps += steps < 50 ? 1 : 37) {
    const strength = 0.999 / steps;
    try {
      timesteps('euler', steps, strength);
      assert.fail(`${steps} ${strength}`);
    } catch (error) {
      const least = Number(/choose at least ([\d.]+),/.exec((error as Error).message)?.[1]);
      assert.ok(timesteps('euler', steps, least).length >= 1, `${steps} ${least}`);
    }
  }
});

test('pndm repeats a timestep, so that one is always left', () => {
  // pipe.get_timesteps(10, strength, 'cpu')[0] of StableDiffusionImg2ImgPipeline with PNDMScheduler.
  assert.deepEqual(timesteps('pndm', 10, 0), [1]);
  assert.deepEqual(timesteps('pndm', 10, 0.05), [1]);
  assert.deepEqual(timesteps('pndm', 10, 0.1), [101, 1]);
  assert.deepEqual(timesteps('pndm', 10, 0.9).slice(0, 3), [801, 801, 701]);
});

test('a first step that the training does not have only matters if it is taken', () => {
  assert.throws(() => timesteps('ddim', 1000, 1), { code: 'INVALID_OPTION', message: /timesteps below 1000/ });
  assert.equal(timesteps('ddim', 1000, 0.8)[0], 800);
  assert.throws(() => timesteps('pndm', 1000, 0.999), { code: 'INVALID_OPTION', message: /timesteps below 1000/ });
  assert.equal(timesteps('pndm', 1000, 0.998)[0], 999);
});
