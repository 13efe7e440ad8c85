import assert from 'node:assert/strict';
import { Generator } from '../random/generator.js';
import { drive } from '../run/drive.js';
import type { Sampler } from '../sampler/sampler.js';
import { serial } from '../sampler/serial.js';
import { srds } from '../sampler/srds.js';
import { scheduleConfig, type ScheduleConfig } from '../schedule/config.js';
import { noiseSchedule, stepsBetween, type SolverStep } from '../schedule/grid.js';
import { withNoise } from '../schedule/noise.js';
import { span } from '../schedule/span.js';
import { isMultistep, stepGenerator, type AnySolver, type Solver } from '../solver/solver.js';
import type { Check } from './check.js';
import { mixtureDenoiser, TWO_GAUSSIANS } from './mixture.js';

/** A solver to check. */
export interface SolverUnderTest {
  /** Makes the solver. Few solvers need the noise schedule of the training. */
  readonly make: (schedule: ScheduleConfig) => AnySolver;
  /** Whether its steps need noise; default false. */
  readonly noise?: boolean;
  /** Adapts the grid, for solvers with other grids than one interval a step. */
  readonly grid?: (steps: SolverStep[]) => SolverStep[];
}

/** Timesteps of the training; enough for smooth grids. */
const TRAINED = 4096;
/** Timesteps left out at each end, where log-SNR is steep. */
const ENDS = 32;
const SCHEDULE = {
  trainTimesteps: TRAINED,
  betaStart: 1 / TRAINED,
  betaEnd: 14 / TRAINED,
};
/** Paths over which the error of a solver with noise is measured. */
const PATHS = 12;
const X = Float32Array.of(0.3, -1.1);

/**
 * The requirements on every solver, on a Gaussian mixture whose denoiser is known in closed form.
 * @example
 * for (const { name, run } of solverConformance({ make: () => mySolver })) test(name, run);
 */
export function solverConformance({ make, noise = false, grid = (steps) => steps }: SolverUnderTest): Check[] {
  const schedule = scheduleConfig(SCHEDULE);
  const solver = make(schedule);
  const denoiser = mixtureDenoiser(TWO_GAUSSIANS);
  const paths = Array.from({ length: noise ? PATHS : 1 }, (_, seed) => finestGrid(schedule, noise ? seed : undefined));
  const finestSteps = paths[0].length;
  /** `n` steps. Their noise is the sum over the finest steps, one path of a Brownian motion. */
  const steps = (n: number, finest = paths[0]): SolverStep[] => {
    const edge = (i: number) => Math.round((i * finest.length) / n);
    return grid(Array.from({ length: n }, (_, i) => span(finest.slice(edge(i), edge(i + 1)))));
  };
  /** The ends of all paths, one after the other. */
  const ends = async (n: number): Promise<number[]> => {
    const all = paths.map((path) => run(serial({ x: X, steps: steps(n, path), solver })));
    return (await Promise.all(all)).flatMap(({ x }) => [...x]);
  };

  const run = (sampler: Sampler) => drive(sampler, { denoiser }).result;
  /** A step with all its evaluations. */
  const stepped = async (oneStep: Solver, ...[x, prediction, step]: Parameters<Solver['step']>) => {
    const generator = stepGenerator(oneStep, x, prediction, step);
    let next = generator.next();
    while (!next.done)
      next = generator.next(await denoiser(requestOf(next.value.x, { ...step, from: next.value.level })));
    return next.value;
  };

  const checks: Check[] = [
    {
      name: `${solver.name}: its measured order is the declared one, ${solver.order}`,
      async run() {
        const exact = await ends(finestSteps);
        const error = async (n: number) => Math.hypot(...(await ends(n)).map((value, k) => value - exact[k]));
        const order = Math.log2((await error(32)) / (await error(128))) / 2;
        assert.ok(Math.abs(order - solver.order) < 0.3, `${solver.name} declares order ${solver.order}, has ${order}`);
      },
    },
    {
      name: `${solver.name}: a step changes none of its inputs and has the same result twice`,
      async run() {
        const [step] = steps(10);
        const x = X.slice();
        const prediction = await denoiser(requestOf(x, step));
        const before = structuredClone({ prediction, step });
        const take = () =>
          isMultistep(solver)
            ? solver.multistep({ x, prediction, step, index: 0 }, [])
            : stepped(solver, x, prediction, step);
        const [once, again] = [await take(), await take()];
        assert.deepEqual(once, again);
        assert.deepEqual({ x, prediction, step }, { x: X, ...before });
      },
    },
  ];
  if (isMultistep(solver)) return checks;
  return [
    ...checks,
    {
      name: `${solver.name}: a step takes the declared ${solver.evaluationsPerStep} evaluations`,
      async run() {
        const { evaluations } = await run(serial({ x: X, steps: steps(10), solver }));
        assert.equal(evaluations.total, 10 * solver.evaluationsPerStep);
        assert.equal(evaluations.critical, evaluations.total);
      },
    },
    {
      name: `${solver.name}: SRDS with it gives the serial sample, ===`,
      async run() {
        for (const partition of [[1], [5], [2, 3, 4, 1], [1, 1, 1], Array<number>(6).fill(4)]) {
          const n = partition.reduce((a, b) => a + b);
          const options = { x: X, steps: steps(n), solver };
          const expected = await run(serial(options));
          for (const correction of ['secant', 'parareal'] as const) {
            const actual = await run(srds({ ...options, partition, correction }));
            assert.deepEqual(actual.x, expected.x, `blocks ${partition.join()}, ${correction}`);
            assert.ok(actual.evaluations.critical <= expected.evaluations.critical);
          }
        }
      },
    },
  ];
}

function finestGrid(schedule: ScheduleConfig, seed: number | undefined): SolverStep[] {
  const { at } = noiseSchedule(schedule);
  const levels = Array.from({ length: TRAINED - 2 * ENDS }, (_, i) => at(TRAINED - ENDS - 1 - i));
  const steps = stepsBetween(levels);
  if (seed === undefined) return steps;
  const generator = new Generator(seed);
  return withNoise(steps, () => generator.randn(X.length));
}

function requestOf(x: Float32Array, { from }: SolverStep) {
  return { x, level: from, priority: [], signal: new AbortController().signal };
}
