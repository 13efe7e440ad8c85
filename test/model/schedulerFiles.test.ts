import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { SrdsError } from 'srds';
import { parseScheduleConfig } from 'srds/model';
import { fineGrid, sigmaGrid, sigmaScheduler, type ScheduleConfig, type Scheduler } from 'srds/schedule';
import { fixture } from '../support/fixtures.js';

const read = (name: string): unknown => JSON.parse(readFileSync(fixture(`schedulers/${name}.json`), 'utf8'));

/** Number of steps, timesteps and sigmas; for ddim abar at the starts and the ends of the steps. */
type Grid = [number, number[], (number | null)[] | [number[], number[]] | null];
const configs = read('configs') as { config: object; results: Record<Scheduler, Grid | null> }[];
const grids = read('grids') as { config: object; class: Scheduler; refused: number[]; hash: string; abar: number }[];

const timestepsOf = (config: ScheduleConfig, steps: number) => fineGrid(config, steps).map(({ from }) => from.t);
const abarOf = (sigma: number | null) => (sigma === null ? 0 : 1 / (1 + sigma * sigma));

/** Each within an absolute tolerance. */
function assertWithin(actual: readonly number[], expected: readonly number[], tolerance: number, what: string): void {
  assert.equal(actual.length, expected.length, what);
  actual.forEach((value, k) =>
    assert.ok(Math.abs(value - expected[k]) <= tolerance, `${what} ${k}: ${value}, ${expected[k]}`),
  );
}

test("random files: each class's grid is diffusers', or one line says what is not supported", () => {
  let compared = 0;
  for (const { config: content, results } of configs) {
    for (const [scheduler, expected] of Object.entries(results) as [Scheduler, Grid | null][]) {
      const what = `${scheduler} ${JSON.stringify(content)}`;
      const [steps, times, levels] = expected ?? [5, [], null];
      let config: ScheduleConfig;
      try {
        config = parseScheduleConfig(content, { scheduler });
        fineGrid(config, steps);
      } catch (error) {
        assert.ok(error instanceof SrdsError && !error.message.includes('\n'), what);
        // Where there is no signal, epsilon does not determine the sample; diffusers divides by zero.
        if (expected) assert.match(error.message, /not supported|zero terminal SNR/, what);
        continue;
      }
      if (!expected) continue;
      compared++;
      // Those of Karras sigmas are logarithms of float32 numbers. Sigmas of zero terminal SNR are rounded as the processor does it.
      assertWithin(timestepsOf(config, steps), times.map(Math.fround), config.karras ? 2e-3 : 0, what);
      const tolerance = config.zeroSnr ? 1e-5 : 1e-6;
      if (sigmaScheduler(scheduler)) {
        const sigmas = levels as (number | null)[];
        assertWithin([...sigmaGrid(config, steps).sigmas].map(abarOf), sigmas.map(abarOf), tolerance, what);
      } else if (levels) {
        const [starts, ends] = levels as [number[], number[]];
        const grid = fineGrid(config, steps);
        assertWithin(
          grid.map(({ from }) => from.alphaBar),
          starts,
          tolerance,
          what,
        );
        assertWithin(
          grid.map(({ to }) => to.alphaBar),
          ends,
          tolerance,
          what,
        );
      }
    }
  }
  assert.ok(compared > 250, `${compared} grids compared`);
});

for (const { config: content, class: scheduler, refused, hash, abar } of grids) {
  const { timestep_spacing: spacing, steps_offset: offset } = content as Record<string, unknown>;
  test(`${scheduler}, ${String(spacing)}, offset ${String(offset)}: the grids of all numbers of steps are diffusers'`, () => {
    const config = parseScheduleConfig(content, { scheduler });
    const digest = createHash('sha256');
    const found: number[] = [];
    let sum = 0;
    for (let steps = 1; steps <= config.trainTimesteps; steps++) {
      try {
        digest.update(Float32Array.from(timestepsOf(config, steps)));
        if (sigmaScheduler(scheduler)) for (const sigma of sigmaGrid(config, steps).sigmas) sum += abarOf(sigma);
      } catch (error) {
        assert.ok(error instanceof SrdsError && error.code === 'INVALID_OPTION');
        found.push(steps);
      }
    }
    assert.deepEqual(found, refused);
    assert.equal(digest.digest('hex'), hash);
    assert.ok(Math.abs(sum - abar) <= 1e-6 * abar, `${sum} against ${abar}`);
  });
}

// With zero terminal SNR diffusers sets the last abar to 2^-24, which can be above those before it.
test('noise levels that are not in order are searched as diffusers searches them', () => {
  const shared = { rescale_betas_zero_snr: true, beta_schedule: 'linear' };
  const euler = parseScheduleConfig(
    { ...shared, num_train_timesteps: 4000, timestep_spacing: 'leading', use_karras_sigmas: true },
    { scheduler: 'euler' },
  );
  const times = [3998.603271484375, 3998.67529296875, 3998.76220703125, 3998.87158203125, 2509.15307, 1817.07849, 0];
  assertWithin(timestepsOf(euler, 7), times, 1e-3, 'euler');
  const betas = { beta_start: 0.000223, beta_end: 0.02882, timestep_spacing: 'trailing' };
  const dpm = parseScheduleConfig({ ...shared, ...betas, lambda_min_clipped: -10 }, { scheduler: 'dpm' });
  assert.deepEqual(timestepsOf(dpm, 7), [994, 851, 708, 565, 423, 280, 137]);
});

test('fields of _use_default_values take the defaults of the class that reads the file', () => {
  const content = {
    _class_name: 'PNDMScheduler',
    timestep_spacing: 'leading',
    steps_offset: 1,
    set_alpha_to_one: false,
    _use_default_values: ['timestep_spacing', 'set_alpha_to_one'],
  };
  const spacing = (scheduler: Scheduler) => parseScheduleConfig(content, { scheduler }).timestepSpacing;
  assert.deepEqual([spacing('euler'), spacing('dpm'), spacing('ddim')], ['linspace', 'linspace', 'leading']);
  assert.equal(parseScheduleConfig(content).setAlphaToOne, true);
  const euler = parseScheduleConfig(content, { scheduler: 'euler' });
  assert.deepEqual(timestepsOf(euler, 10).slice(0, 2), [999, 888]);
  // An option wins over the file.
  assert.equal(parseScheduleConfig(content, { scheduler: 'euler', spacing: 'trailing' }).timestepSpacing, 'trailing');
  for (const names of ['timestep_spacing', [1], null]) {
    assert.throws(() => parseScheduleConfig({ _use_default_values: names }), {
      code: 'MODEL_INVALID',
      message: /_use_default_values: expected a list of names/,
    });
  }
});

test('a null flag is off, also where the default is on; other nulls count where they are read', () => {
  assert.equal(parseScheduleConfig({ clip_sample: null }).bound, undefined);
  assert.equal(parseScheduleConfig({ set_alpha_to_one: null }).setAlphaToOne, false);
  assert.equal(parseScheduleConfig({ lower_order_final: null }, { scheduler: 'dpm' }).lowerOrderFinal, false);
  assert.equal(parseScheduleConfig({ steps_offset: null, timestep_spacing: 'trailing' }).stepsOffset, 0);
  assert.throws(() => parseScheduleConfig({ steps_offset: null }), {
    code: 'MODEL_INVALID',
    message: /steps_offset: null/,
  });
  assert.throws(() => parseScheduleConfig({ clip_sample_range: null }), { message: /clip_sample_range: null/ });
  const bound = parseScheduleConfig({ thresholding: true, sample_max_value: null }).bound;
  assert.deepEqual(bound, { kind: 'threshold', ratio: 0.995, max: Infinity });
});

test('a class ignores the fields of other classes, whatever they hold', () => {
  const content = { skip_prk_steps: true, thresholding: 'x', clip_sample: 7, sigma_min: 'a', solver_order: null };
  assert.equal(parseScheduleConfig(content, { scheduler: 'pndm' }).bound, undefined);
  assert.throws(() => parseScheduleConfig(content), { code: 'MODEL_INVALID', message: /thresholding/ });
});
