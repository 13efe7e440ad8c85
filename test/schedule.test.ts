import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SrdsError } from 'srds';
import { alphasCumprod, fineGrid, parseScheduleConfig, timesteps } from 'srds/schedule';
import { reference, references } from './support/fixtures.js';

/** The scheduler configuration that a reference was computed with. */
function configOf(metadata: Readonly<Record<string, string>>) {
  const published = JSON.parse(metadata.published_config) as object;
  return parseScheduleConfig({ ...published, ...(JSON.parse(metadata.scheduler_overrides) as object) });
}

for (const name of references('tables')) {
  const table = reference(`tables/${name}`);
  const config = configOf(table.metadata);

  test(`${name}: alphas_cumprod equal diffusers' bit for bit`, () => {
    assert.deepEqual(alphasCumprod(config), table.floats('alphas_cumprod'));
  });

  for (const steps of JSON.parse(table.metadata.counts) as number[]) {
    test(`${name}, ${steps} steps: the grid equals diffusers'`, () => {
      assert.deepEqual(timesteps(config, steps), table.numbers(`N${steps}.timesteps`));
      const grid = fineGrid(config, steps);
      assert.deepEqual(
        grid.map(({ to }) => to.t),
        table.numbers(`N${steps}.prev_timesteps`),
      );
      assert.deepEqual(
        grid.map(({ from }) => from.alphaBar),
        table.numbers(`N${steps}.alpha_t`),
      );
      assert.deepEqual(
        grid.map(({ to }) => to.alphaBar),
        table.numbers(`N${steps}.alpha_prev`),
      );
    });
  }
}

test('trailing spacing drops the entry below 0 that diffusers makes for 961 steps', () => {
  const config = parseScheduleConfig({ timestep_spacing: 'trailing', clip_sample: false });
  const list = timesteps(config, 961);
  assert.equal(list.length, 961);
  assert.equal(list.at(-1), 0);
});

test('squaredcos_cap_v2 follows its formula', () => {
  const config = parseScheduleConfig({ beta_schedule: 'squaredcos_cap_v2', clip_sample: false });
  const alphas = alphasCumprod(config);
  const bar = (u: number) => Math.cos((((u + 0.008) / 1.008) * Math.PI) / 2) ** 2;
  for (const t of [0, 100, 500, 900]) assert.ok(Math.abs(alphas[t] - bar((t + 1) / 1000) / bar(0)) < 1e-5);
});

test('steps that a schedule does not have are refused', () => {
  const config = parseScheduleConfig({ clip_sample: false });
  for (const steps of [0, -1, 1.5, 1001, NaN]) {
    assert.throws(() => timesteps(config, steps), { name: 'SrdsError', code: 'INVALID_OPTION' });
  }
  const leading = parseScheduleConfig({ clip_sample: false, steps_offset: 1 });
  assert.throws(() => timesteps(leading, 1000), { code: 'INVALID_OPTION' });
  assert.equal(timesteps(leading, 999).length, 999);
});

test('configurations that cannot be used say which field is wrong', () => {
  const cases: [object, RegExp][] = [
    [{ beta_start: 'a' }, /beta_start/],
    [{ num_train_timesteps: -5 }, /num_train_timesteps/],
    [{ timestep_spacing: 'sideways' }, /timestep_spacing/],
    [{ clip_sample: true }, /clip_sample is not supported yet/],
    [{ clip_sample: false, trained_betas: [0.1] }, /trained_betas/],
  ];
  for (const [content, message] of cases) {
    assert.throws(
      () => parseScheduleConfig(content),
      (error) => error instanceof SrdsError && error.code === 'MODEL_INVALID' && message.test(error.message),
    );
  }
});
