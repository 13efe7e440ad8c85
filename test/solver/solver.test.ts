import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bounded, toPrediction } from 'srds/solver';
import { mixtureDenoiser, solverConformance, TWO_GAUSSIANS } from 'srds/conformance';
import { srds } from 'srds/sampler';
import { parseScheduleConfig } from 'srds/model';
import { fineGrid, type SolverStep } from 'srds/schedule';
import {
  addsNoise,
  isMultistep,
  schedulerOf,
  stepGenerator,
  solverOf,
  SOLVERS,
  type Past,
  type SolverName,
} from 'srds/solver';
import { reference, references, relativeError, schedulerClass } from '../support/fixtures.js';

const denoiser = mixtureDenoiser(TWO_GAUSSIANS);
const PUBLISHED = {
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  beta_start: 0.00085,
  clip_sample: false,
  num_train_timesteps: 1000,
  set_alpha_to_one: false,
  skip_prk_steps: true,
  steps_offset: 1,
};
const OF_MODEL = { sd15: {}, sd21v: { prediction_type: 'v_prediction' }, sdxl: { timestep_spacing: 'leading' } };
const SOLVER_OF: Partial<Record<string, SolverName>> = { dpm: 'dpm2m' };

for (const name of references('steps')) {
  test(`${name}: each step equals diffusers'`, async () => {
    const file = reference(`steps/${name}`);
    const { metadata } = file;
    const scheduler = schedulerClass(metadata.scheduler);
    const overrides = JSON.parse(metadata.scheduler_overrides) as object;
    const published = { ...PUBLISHED, ...OF_MODEL[metadata.published as keyof typeof OF_MODEL] };
    const schedule = parseScheduleConfig({ ...published, ...overrides }, { scheduler });
    // Euler's and Heun's states in diffusers are x / sqrt(abar).
    const larger = scheduler === 'euler' || scheduler === 'heun';

    for (const n of JSON.parse(metadata.counts) as number[]) {
      const steps = fineGrid(schedule, n);
      const solver = solverOf(SOLVER_OF[scheduler] ?? (scheduler as SolverName), { schedule, steps: n });
      const sample0 = file.floats(`N${n}.sample0`);
      const size = sample0.length;
      let calls = 0;
      const row = (key: string) => file.floats(`N${n}.${key}`).slice(calls * size, (calls + 1) * size);
      const scaled = (x: Float32Array, { alphaBar }: SolverStep['from']) =>
        larger ? x.map((value) => value * Math.sqrt(alphaBar)) : x;
      const predict = (x: Float32Array, level: SolverStep['from']) => {
        const prediction = bounded(
          toPrediction(schedule.predictionType, x, row('model_output'), level.alphaBar),
          schedule.bound,
        );
        if (scheduler === 'ddim') assert.ok(relativeError(prediction.x0, row('pred_original_sample')) < 1e-5);
        assert.ok(relativeError(x, row('scaled')) < 1e-5, `what the network is given in call ${calls} of ${n}`);
        calls++;
        return prediction;
      };

      let x = scaled(sample0, steps[0].from);
      let past: Past[] = [];
      for (const [index, step] of steps.entries()) {
        const prediction = predict(x, step.from);
        let end: Float32Array;
        if (isMultistep(solver)) {
          const now = { x, prediction, step, index };
          end = solver.multistep(now, past);
          past = [now, ...past].slice(0, solver.history);
        } else {
          const generator = stepGenerator(solver, x, prediction, step);
          let next = generator.next();
          while (!next.done) next = generator.next(predict(next.value.x, next.value.level));
          end = next.value;
        }
        calls--;
        const expected = scaled(row('prev_sample'), step.to);
        calls++;
        // diffusers' state is about 4096 at zero SNR and 15 a step later: in float32 that leaves four digits.
        const tolerance = larger && step.from.alphaBar < 1e-6 ? 1e-4 : 1e-5;
        assert.ok(relativeError(end, expected) < tolerance, `step ${index} of ${n}: ${relativeError(end, expected)}`);
        x = expected;
      }
      assert.equal(calls * size, file.floats(`N${n}.model_output`).length);
    }
  });
}

/** The solvers, with and without noise: the suite that any other would run. */
for (const name of SOLVERS) {
  for (const eta of name === 'ddim' ? [0, 0.7] : [0]) {
    const suite = solverConformance({
      make: (schedule) => solverOf(name, { schedule, steps: 100, eta }),
      noise: addsNoise(name, eta),
      // PNDM's grid has its second start twice.
      grid: (steps) => (name === 'pndm' ? steps.toSpliced(1, 0, steps[1]) : steps),
    });
    for (const { name: check, run } of suite) test(eta > 0 ? `${check}, eta ${eta}` : check, run);
  }
}

test('SRDS refuses a multistep solver and names those that it takes', () => {
  for (const name of ['dpm2m', 'pndm'] as const) {
    const schedule = parseScheduleConfig(PUBLISHED, { scheduler: schedulerOf(name) });
    const solver = solverOf(name, { schedule, steps: 10 });
    const options = { x: new Float32Array(2), steps: fineGrid(schedule, 10), denoiser, solver };
    assert.throws(() => srds(options), { code: 'INVALID_OPTION', message: /multistep.*ddim.*heun.*dpm2s/ });
  }
});
