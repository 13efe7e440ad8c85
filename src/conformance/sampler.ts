import assert from 'node:assert/strict';
import type { Denoiser } from '../run/denoiser.js';
import type { SampleResult, SamplerEvent } from '../run/events.js';
import type { Run } from '../run/run.js';
import { serial, type SerialOptions } from '../sampler/serial.js';
import { fineGrid, type SolverStep } from '../schedule/grid.js';
import { scheduleConfig } from '../schedule/config.js';
import { ddim } from '../solver/ddim.js';
import { heun } from '../solver/heun.js';
import type { Solver } from '../solver/solver.js';
import type { Check } from './check.js';
import { mixtureDenoiser, smoothGrid, TWO_GAUSSIANS } from './mixture.js';

/** What is asked of a sampler. */
export interface SamplerConformanceOptions {
  /** Whether it takes solvers with more than one evaluation a step; default true. */
  readonly anySolver?: boolean;
}

/** What a sampler under test is given. */
export interface SampleOptions extends SerialOptions {
  readonly solver: Solver;
}

const X = Float32Array.of(0.3, -1.1);
const COUNTS = [1, 2, 5, 10, 25, 49];

/**
 * What every sampler must do when told to run until it is exact.
 * @param name for the checks' names
 * @param sample starts it; a tolerance it may have must be 0
 */
export function samplerConformance(
  name: string,
  sample: (options: SampleOptions) => Run<SamplerEvent, SampleResult>,
  { anySolver = true }: SamplerConformanceOptions = {},
): Check[] {
  const denoiser = mixtureDenoiser(TWO_GAUSSIANS);
  const toNoNoise = fineGrid(scheduleConfig(), 25);
  const cases: { solver: Solver; steps: SolverStep[] }[] = [
    ...COUNTS.map((n) => ({ solver: ddim, steps: smoothGrid(n) })),
    ...(anySolver ? [{ solver: heun, steps: smoothGrid(10) }] : []),
    { solver: ddim, steps: toNoNoise },
  ];
  return [
    {
      name: `${name}: its sample is the serial one, ===, and so is its status`,
      async run() {
        for (const { solver, steps } of cases) {
          const options = { x: X, steps, denoiser, solver };
          const [expected, drawn] = [await serial(options).result, await sample(options).result];
          assert.deepEqual(drawn.x, expected.x, `${steps.length} steps of ${solver.name}`);
          assert.equal(drawn.status, 'exact');
          assert.equal(drawn.residuals.length, drawn.iterations);
        }
      },
    },
    {
      name: `${name}: no chain of evaluations is longer than the serial one`,
      async run() {
        for (const { solver, steps } of cases) {
          const options = { x: X, steps, denoiser, solver };
          const [expected, drawn] = [await serial(options).result, await sample(options).result];
          assert.ok(drawn.evaluations.critical <= expected.evaluations.critical, `${steps.length} of ${solver.name}`);
          assert.ok(drawn.evaluations.critical <= drawn.evaluations.total);
        }
      },
    },
    {
      name: `${name}: the order in which evaluations come back changes nothing`,
      async run() {
        let turn = 0;
        const jumbled: Denoiser = async (request) => {
          const prediction = await denoiser(request);
          for (let wait = (turn++ * 7) % 5; wait > 0; wait--) await new Promise((resolve) => setImmediate(resolve));
          return prediction;
        };
        const options = { x: X, steps: smoothGrid(25), solver: ddim };
        const expected = await sample({ ...options, denoiser }).result;
        assert.deepEqual((await sample({ ...options, denoiser: jumbled }).result).x, expected.x);
      },
    },
    {
      name: `${name}: events count up to the result, iterations in order, evaluations each once`,
      async run() {
        const run = sample({ x: X, steps: smoothGrid(25), denoiser, solver: ddim });
        const iterations: number[] = [];
        let evaluations = 0;
        for await (const event of run) {
          if (event.type === 'iteration') iterations.push(event.iteration);
          else assert.equal(event.evaluations.total, ++evaluations);
        }
        const result = await run.result;
        assert.ok(result.evaluations.total >= evaluations);
        assert.deepEqual(
          iterations,
          iterations.map((_, k) => k),
        );
      },
    },
    {
      name: `${name}: aborted, before it starts or at any evaluation, it ends soon and says so`,
      async run() {
        for (const at of [0, 1, 3, 10]) {
          const controller = new AbortController();
          let calls = 0;
          const counted: Denoiser = (request) => {
            if (++calls >= at) controller.abort();
            return denoiser(request);
          };
          if (at === 0) controller.abort();
          const { signal } = controller;
          const result = await sample({ x: X, steps: smoothGrid(49), denoiser: counted, solver: ddim, signal }).result;
          assert.equal(result.status, 'aborted');
          assert.ok(result.x.every(Number.isFinite));
        }
      },
    },
    {
      name: `${name}: an error of the denoiser is the run's`,
      async run() {
        const broken: Denoiser = async (request) => {
          if (request.level.alphaBar > 0.5) throw new RangeError('broken');
          return denoiser(request);
        };
        const run = sample({ x: X, steps: smoothGrid(25), denoiser: broken, solver: ddim });
        await assert.rejects(run.result, { message: 'broken' });
      },
    },
    {
      name: `${name}: it changes none of its inputs`,
      async run() {
        const [x, steps] = [X.slice(), smoothGrid(10)];
        await sample({ x, steps, denoiser, solver: ddim }).result;
        assert.deepEqual([x, steps], [X, smoothGrid(10)]);
      },
    },
  ];
}
