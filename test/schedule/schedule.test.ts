import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gridConformance } from 'srds/conformance';
import { parseScheduleConfig } from 'srds/model';
import {
  alphasCumprod,
  betas,
  fineGrid,
  initialNoiseScale,
  scheduleConfig,
  SCHEDULERS,
  sigmaGrid,
  timesteps,
  type SolverStep,
} from 'srds/schedule';
import { reference, references, schedulerClass } from '../support/fixtures.js';

/** The scheduler configuration that a reference was computed with, read as its class reads it. */
function configOf(metadata: Readonly<Record<string, string>>) {
  const published = metadata.published_config === 'null' ? {} : (JSON.parse(metadata.published_config) as object);
  return parseScheduleConfig(
    { ...published, ...(JSON.parse(metadata.scheduler_overrides) as object) },
    { scheduler: schedulerClass(metadata.scheduler) },
  );
}

/** Each within a relative tolerance. */
function assertClose(actual: readonly number[], expected: readonly number[], what: string, tolerance = 1e-6): void {
  assert.equal(actual.length, expected.length, what);
  expected.forEach((value, k) => {
    assert.ok(
      Math.abs(actual[k] - value) <= tolerance * Math.abs(value),
      `${what} ${k}: ${actual[k]} against ${value}`,
    );
  });
}

for (const name of references('tables')) {
  const table = reference(`tables/${name}`);
  const config = configOf(table.metadata);
  const errors = JSON.parse(table.metadata.errors) as Record<string, string>;

  // The square roots that zero terminal SNR needs are not correctly rounded in torch, and differ between processors.
  const exact = !config.zeroSnr;
  const tolerance = exact ? 1e-6 : 1e-5;

  test(`${name}: betas and alphas_cumprod equal diffusers'${exact ? ' bit for bit' : ''}`, () => {
    const actual = [betas(config), alphasCumprod(config)];
    const expected = [table.floats('betas'), table.floats('alphas_cumprod')];
    if (exact) assert.deepEqual(actual, expected);
    else assertClose([...actual[1]], [...expected[1]], 'abar', tolerance);
  });

  for (const steps of JSON.parse(table.metadata.counts) as number[]) {
    if (errors[steps]) continue;
    test(`${name}, ${steps} steps: the grid equals diffusers'`, () => {
      const grid = fineGrid(config, steps);
      const expected = (key: string) => table.numbers(`N${steps}.${key}`);
      if (config.scheduler === 'ddim') {
        assert.deepEqual(timesteps(config, steps), expected('timesteps'));
        const of = (pick: (step: SolverStep) => number) => grid.map(pick);
        assert.deepEqual(
          of(({ to }) => to.t),
          expected('prev_timesteps'),
        );
        assertClose(
          of(({ from }) => from.alphaBar),
          expected('alpha_t'),
          'abar',
          exact ? 0 : tolerance,
        );
        assertClose(
          of(({ to }) => to.alphaBar),
          expected('alpha_prev'),
          'abar at the end',
          exact ? 0 : tolerance,
        );
        return;
      }
      // Heun's own lists have all but the first twice, once for each of its evaluations.
      const once = (list: number[], last: number) =>
        config.scheduler === 'heun' ? list.filter((_, i) => i === 0 || i % 2 === 1 || i === last) : list;
      const expectedTimesteps = expected('timesteps');
      assertClose(
        grid.map(({ from }) => from.t),
        once(expectedTimesteps, -1),
        'timestep',
      );
      if (config.scheduler === 'pndm') return;
      const list = expected('sigmas');
      assertClose([...sigmaGrid(config, steps).sigmas], once(list, list.length - 1), 'sigma', tolerance);
      const scale = initialNoiseScale(config, grid[0].from);
      // diffusers' state is larger by sqrt(sigma^2 + 1), except DPM-Solver's.
      const larger = config.scheduler === 'dpm' ? 1 : 1 / Math.sqrt(grid[0].from.alphaBar);
      assertClose([scale * larger], expected('init_noise_sigma'), 'scale of the noise');
    });
  }
}

for (const scheduler of SCHEDULERS) {
  for (const timestep_spacing of ['leading', 'trailing', 'linspace']) {
    const config = parseScheduleConfig(
      { timestep_spacing, skip_prk_steps: true, steps_offset: timestep_spacing === 'leading' ? 1 : 0 },
      { scheduler },
    );
    for (const { name, run } of gridConformance(`${scheduler}, ${timestep_spacing}`, (n) => fineGrid(config, n))) {
      test(name, run);
    }
  }
}

test('trailing spacing drops the entry below 0 that diffusers makes for 961 steps', () => {
  const config = scheduleConfig({ timestepSpacing: 'trailing' });
  const list = timesteps(config, 961);
  assert.equal(list.length, 961);
  assert.equal(list.at(-1), 0);
});

test('squaredcos_cap_v2 follows its formula', () => {
  const config = scheduleConfig({ betaSchedule: 'squaredcos_cap_v2' });
  const alphas = alphasCumprod(config);
  const bar = (u: number) => Math.cos((((u + 0.008) / 1.008) * Math.PI) / 2) ** 2;
  for (const t of [0, 100, 500, 900]) assert.ok(Math.abs(alphas[t] - bar((t + 1) / 1000) / bar(0)) < 1e-5);
});

test('numbers of steps that a schedule does not support are refused', () => {
  const config = scheduleConfig();
  for (const steps of [0, -1, 1.5, 1001, NaN]) {
    assert.throws(() => timesteps(config, steps), { name: 'SrdsError', code: 'INVALID_OPTION' });
  }
  const leading = scheduleConfig({ stepsOffset: 1 });
  assert.throws(() => fineGrid(leading, 1000), { code: 'INVALID_OPTION' });
  assert.equal(fineGrid(leading, 999).length, 999);
  // A sample that starts from an image skips the timestep that the training does not have.
  assert.equal(fineGrid(leading, 1000, 1).length, 999);
});

test("a schedule with no fields given is DDIM's, without clipping", () => {
  assert.deepEqual(scheduleConfig(), parseScheduleConfig({ clip_sample: false }));
});

test('a schedule out of range is refused', () => {
  for (const fields of [{ trainTimesteps: 0 }, { stepsOffset: 1000 }, { betaEnd: 2 }, { trainedBetas: [0.1] }]) {
    assert.throws(() => scheduleConfig(fields), { name: 'SrdsError', code: 'INVALID_OPTION' });
  }
});
