import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toPrediction } from 'srds/denoiser';
import { serial } from 'srds/sampler';
import { fineGrid, parseScheduleConfig } from 'srds/schedule';
import { ddim } from 'srds/solver';
import { reference, references, relativeError } from './support/fixtures.js';
import { mixtureDenoiser, smoothGrid } from './support/mixture.js';

const SD15 = {
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  beta_start: 0.00085,
  clip_sample: false,
  num_train_timesteps: 1000,
  set_alpha_to_one: false,
  steps_offset: 1,
};

for (const name of references('steps')) {
  test(`${name}: each step equals diffusers'`, () => {
    const steps = reference(`steps/${name}`);
    const overrides = JSON.parse(steps.metadata.scheduler_overrides) as object;
    const config = parseScheduleConfig({ ...SD15, ...overrides });
    for (const n of JSON.parse(steps.metadata.counts) as number[]) {
      const outputs = steps.floats(`N${n}.model_output`);
      const expected = steps.floats(`N${n}.prev_sample`);
      const x0s = steps.floats(`N${n}.pred_original_sample`);
      let x = steps.floats(`N${n}.sample0`);
      fineGrid(config, n).forEach((step, j) => {
        const row = (all: Float32Array) => all.slice(j * x.length, (j + 1) * x.length);
        const prediction = toPrediction(config.predictionType, x, row(outputs), step.from.alphaBar);
        assert.ok(relativeError(prediction.x0, row(x0s)) < 1e-5, `x0 of step ${j} of ${n}`);
        assert.ok(relativeError(ddim.step(x, prediction, step), row(expected)) < 1e-5, `step ${j} of ${n}`);
        x = row(expected);
      });
    }
  });
}

test('the measured order of ddim on a Gaussian mixture is the declared one', async () => {
  const denoiser = mixtureDenoiser({
    means: [
      [1, -0.5],
      [-1.2, 0.8],
    ],
    weights: [0.4, 0.6],
    deviation: 0.5,
  });
  const end = async (n: number) =>
    (await serial({ x: Float32Array.of(0.3, -1.1), steps: smoothGrid(n), denoiser, solver: ddim }).result).x;
  const exact = await end(8192);
  const error = async (n: number) => Math.hypot(...(await end(n)).map((value, k) => value - exact[k]));
  const order = Math.log2((await error(32)) / (await error(64)));
  assert.ok(Math.abs(order - ddim.order) < 0.2, `measured ${order}`);
});
