import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gridConformance } from 'srds/conformance';
import { flowSigma, fromVelocity, toFlow } from 'srds/solver';
import { readModelFolder } from 'srds/model';
import { flowGrid, flowSchedule, flowShift, flowSigmas, type FlowSchedule } from 'srds/schedule';
import { ddim, toPrediction } from 'srds/solver';
import { fixture, reference, references, relativeError } from '../support/fixtures.js';

/** mu of a Flux image of so many tokens. Source: calculate_shift of diffusers' Flux pipeline. */
const mu = (tokens: number) => 0.5 + ((tokens - 256) / (4096 - 256)) * (1.15 - 0.5);
const sd3 =
  (shift: number): ((steps: number) => FlowSchedule) =>
  () => ({ shift, last: flowShift(1 / 1000, shift) });
const flux =
  (shift: number): ((steps: number) => FlowSchedule) =>
  (steps) => ({ shift, last: 1 / steps });
const SCHEDULES: Readonly<Record<string, (steps: number) => FlowSchedule>> = {
  flow_flux_dev_seq256_as_flux_pipeline: flux(Math.exp(mu(256))),
  flow_flux_dev_seq1024_as_flux_pipeline: flux(Math.exp(mu(1024))),
  flow_flux_dev_seq4096_as_flux_pipeline: flux(Math.exp(mu(4096))),
  flow_flux_dev_seq1024_without_sigmas: () => ({ shift: Math.exp(mu(1024)), last: 1 / 1000 }),
  flow_schnell_as_flux_pipeline: flux(1),
  flow_sd3_shift3: sd3(3),
  flow_shift1: sd3(1),
};

for (const name of references('flow/tables')) {
  test(`${name}: sigmas and timesteps equal diffusers'`, () => {
    const table = reference(`flow/tables/${name}`);
    for (const steps of JSON.parse(table.metadata.counts) as number[]) {
      const { timesteps, sigmas } = flowSigmas(SCHEDULES[name](steps), steps);
      assert.ok(relativeError(sigmas, table.floats(`N${steps}.sigmas`)) < 1e-6);
      table.numbers(`N${steps}.timesteps`).forEach((t, i) => assert.ok(Math.abs(timesteps[i] / t - 1) < 1e-6));
    }
  });
}

for (const model of ['sd3', 'sd3-no-t5', 'flux-dev', 'flux-schnell']) {
  test(`${model}: sigmas and timesteps of its folder equal diffusers' bit for bit`, async () => {
    const { scheduler, sizeStep } = await readModelFolder(fixture(`models/${model}`));
    const expected = reference(`refs/${model}/schedule`);
    for (const key of Object.keys(expected.tensors).filter((name) => name.endsWith('.sigmas'))) {
      const [, height, width, steps] = /^(\d+)x(\d+)\.N(\d+)/.exec(key)!.map(Number);
      const tokens = Math.floor(height / sizeStep) * Math.floor(width / sizeStep);
      const schedule = scheduler.scheduleFor('euler', { tokens });
      assert.ok(schedule.scheduler === 'flow');
      const { sigmas, timesteps } = flowSigmas(flowSchedule(schedule, steps), steps);
      assert.deepEqual(sigmas, expected.floats(key), key);
      assert.deepEqual(timesteps, expected.numbers(key.replace('sigmas', 'timesteps')));
    }
  });
}

for (const [name, shift] of [
  ['flow_shift1', 1],
  ['flow_shift3', 3],
] as const) {
  test(`${name}: each step equals diffusers'`, async () => {
    const file = reference(`flow/steps/${name}`);
    for (const n of JSON.parse(file.metadata.counts) as number[]) {
      let z = file.floats(`N${n}.sample0`);
      for (const [j, step] of flowGrid(sd3(shift)(n), n).entries()) {
        const row = (key: string) => file.floats(`N${n}.${key}`).slice(j * z.length, (j + 1) * z.length);
        const sigma = flowSigma(step.from);
        const x = z.map((value) => value / Math.hypot(1 - sigma, sigma));
        assert.ok(relativeError(toFlow(x, step.from), z) < 1e-6);
        const prediction = fromVelocity(z, row('model_output'), step.from);
        const same = toPrediction('flow', x, row('model_output'), step.from.alphaBar);
        assert.ok(
          relativeError(same.x0, prediction.x0) < 1e-6 && relativeError(same.epsilon, prediction.epsilon) < 1e-6,
        );
        const end = toFlow(ddim.step(x, prediction, step) as Float32Array, step.to);
        assert.ok(relativeError(end, row('prev_sample')) < 1e-5, `step ${j} of ${n}`);
        z = row('prev_sample');
      }
    }
  });
}

for (const { name, run } of gridConformance('flow', (steps) => flowGrid(sd3(3)(steps), steps))) test(name, run);
