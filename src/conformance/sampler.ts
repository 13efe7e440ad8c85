import assert from 'node:assert/strict';
import type { Denoiser } from '../run/denoiser.js';
import { drive } from '../run/drive.js';
import type { Sampler } from '../sampler/sampler.js';
import { serial, type SerialOptions } from '../sampler/serial.js';
import { fineGrid, type SolverStep } from '../schedule/grid.js';
import { scheduleConfig } from '../schedule/config.js';
import { flowGrid } from '../schedule/flow.js';
import { ddim } from '../solver/ddim.js';
import { heun } from '../solver/heun.js';
import type { Solver } from '../solver/solver.js';
import type { Check } from './check.js';
import { mixtureDenoiser, smoothGrid, TWO_GAUSSIANS } from './mixture.js';

/** Properties of the sampler under test. */
export interface SamplerConformanceOptions {
  /** Whether it supports solvers with more than one evaluation a step; default true. */
  readonly anySolver?: boolean;
}

/** Options of the sampler under test. */
export interface SampleOptions extends SerialOptions {
  readonly solver: Solver;
}

const X = Float32Array.of(0.3, -1.1);
const COUNTS = [1, 2, 5, 10, 25, 49];

/**
 * The requirements on every sampler that runs until it is exact.
 * @param name prefix of the checks' names
 * @param start makes the sampler; tolerances of its own must be 0
 * @example
 * for (const { name, run } of samplerConformance('mine', (options) => mySampler(options))) test(name, run);
 */
export function samplerConformance(
  name: string,
  start: (options: SampleOptions) => Sampler,
  { anySolver = true }: SamplerConformanceOptions = {},
): Check[] {
  const mixture = mixtureDenoiser(TWO_GAUSSIANS);
  const run = (options: SampleOptions, denoiser = mixture) => drive(start(options), { denoiser });
  const runSerial = (options: SampleOptions) => drive(serial(options), { denoiser: mixture });
  const toNoNoise = fineGrid(scheduleConfig(), 25);
  const cases: { solver: Solver; steps: SolverStep[] }[] = [
    ...COUNTS.map((n) => ({ solver: ddim, steps: smoothGrid(n) })),
    ...(anySolver ? [{ solver: heun, steps: smoothGrid(10) }] : []),
    { solver: ddim, steps: toNoNoise },
    { solver: ddim, steps: flowGrid({ shift: 3, last: 0.001 }, 12) },
  ];
  return [
    {
      name: `${name}: its sample is === the serial one, and its status is exact`,
      async run() {
        for (const { solver, steps } of cases) {
          const options = { x: X, steps, solver };
          const [expected, actual] = [await runSerial(options).result, await run(options).result];
          assert.deepEqual(actual.x, expected.x, `${steps.length} steps of ${solver.name}`);
          assert.equal(actual.status, 'exact');
          assert.equal(actual.residuals.length, actual.iterations);
        }
      },
    },
    {
      name: `${name}: no chain of evaluations is longer than the serial one`,
      async run() {
        for (const { solver, steps } of cases) {
          const options = { x: X, steps, solver };
          const [expected, actual] = [await runSerial(options).result, await run(options).result];
          assert.ok(actual.evaluations.critical <= expected.evaluations.critical, `${steps.length} of ${solver.name}`);
          assert.ok(actual.evaluations.critical <= actual.evaluations.total);
        }
      },
    },
    {
      name: `${name}: the order of the predictions does not change the sample`,
      async run() {
        let turn = 0;
        const jumbled: Denoiser = async (request) => {
          const prediction = await mixture(request);
          for (let wait = (turn++ * 7) % 5; wait > 0; wait--) await new Promise((resolve) => setImmediate(resolve));
          return prediction;
        };
        const options = { x: X, steps: smoothGrid(25), solver: ddim };
        const expected = await run(options).result;
        assert.deepEqual((await run(options, jumbled).result).x, expected.x);
      },
    },
    {
      name: `${name}: iterations are reported in order, and each evaluation once`,
      async run() {
        const running = run({ x: X, steps: smoothGrid(25), solver: ddim });
        const iterations: number[] = [];
        let evaluations = 0;
        for await (const event of running) {
          if (event.type === 'iteration') iterations.push(event.iteration);
          else assert.equal(event.evaluations.total, ++evaluations);
        }
        const result = await running.result;
        assert.ok(result.evaluations.total >= evaluations);
        assert.deepEqual(
          iterations,
          iterations.map((_, k) => k),
        );
      },
    },
    {
      name: `${name}: a run that is aborted, before its start or at any evaluation, ends with the status aborted`,
      async run() {
        for (const at of [0, 1, 3, 10]) {
          const controller = new AbortController();
          let calls = 0;
          const counted: Denoiser = (request) => {
            if (++calls >= at) controller.abort();
            return mixture(request);
          };
          if (at === 0) controller.abort();
          const { signal } = controller;
          const sampler = start({ x: X, steps: smoothGrid(49), solver: ddim });
          const result = await drive(sampler, { denoiser: counted, signal }).result;
          assert.equal(result.status, 'aborted');
          assert.ok(result.x.every(Number.isFinite));
        }
      },
    },
    {
      name: `${name}: an error of the denoiser fails the run`,
      async run() {
        const broken: Denoiser = async (request) => {
          if (request.level.alphaBar > 0.5) throw new RangeError('broken');
          return mixture(request);
        };
        const running = run({ x: X, steps: smoothGrid(25), solver: ddim }, broken);
        await assert.rejects(running.result, { message: 'broken' });
      },
    },
    {
      name: `${name}: it changes none of its inputs`,
      async run() {
        const [x, steps] = [X.slice(), smoothGrid(10)];
        await run({ x, steps, solver: ddim }).result;
        assert.deepEqual([x, steps], [X, smoothGrid(10)]);
      },
    },
  ];
}
