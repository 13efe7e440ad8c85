import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { mixtureDenoiser, samplerConformance, smoothGrid } from 'srds/conformance';
import { criticalPath, drive, type Denoiser, type DriveOptions, type IterationEvent } from 'srds/run';
import { boundaries, defaultPartition, evenPartition, type Partition } from 'srds/sampler';
import { Generator } from 'srds/random';
import { paradigms, parataa, picard, serial, srds, type Iterate, type SrdsOptions } from 'srds/sampler';
import { ddim } from 'srds/solver';
import { MIXTURE } from '../support/mixture.js';

const ONE = { anySolver: false };
const VARIANTS = (['parareal', 'secant'] as const).flatMap((correction) =>
  [true, false].map((pipelined) => ({ correction, pipelined })),
);

/** The serial trajectory, [steps + 1] states. */
async function trajectory(x: Float32Array, steps: number, denoiser: Denoiser): Promise<Float32Array[]> {
  const states = [x];
  for (const step of smoothGrid(steps)) {
    const now = states[states.length - 1];
    const prediction = await denoiser({ x: now, level: step.from, priority: [], signal: new AbortController().signal });
    states.push(ddim.step(now, prediction, step) as Float32Array);
  }
  return states;
}

/** Runs srds to its end and keeps its iterations. */
async function collect({ denoiser, tolerance, residual, ...options }: Omit<SrdsOptions, 'solver'> & DriveOptions) {
  const run = drive(srds({ solver: ddim, ...options }), { denoiser, tolerance, residual });
  const iterations: IterationEvent[] = [];
  for await (const event of run) if (event.type === 'iteration') iterations.push(event);
  return { iterations, result: await run.result };
}

for (const { name, run } of [
  ...samplerConformance('serial', serial),
  ...VARIANTS.filter(({ pipelined }) => pipelined).flatMap((variant) =>
    samplerConformance(`srds, ${variant.correction}`, (options) => srds({ ...options, ...variant })),
  ),
  ...[undefined, 1, 4].flatMap((window) => [
    ...samplerConformance(`picard, window ${window}`, (options) => picard({ ...options, window }), ONE),
    ...samplerConformance(`paradigms, window ${window}`, (options) => paradigms({ ...options, window }), ONE),
    ...[1, 3].flatMap((history) =>
      samplerConformance(
        `parataa, window ${window}, history ${history}`,
        (options) => parataa({ ...options, window, history }),
        ONE,
      ),
    ),
  ]),
]) {
  test(name, run);
}

const models = fc.record({
  dimension: fc.integer({ min: 1, max: 4 }),
  components: fc.integer({ min: 1, max: 4 }),
  deviation: fc.double({ min: 0.05, max: 1.5, noNaN: true }),
  seed: fc.integer({ min: 0, max: 1e6 }),
});
const partitions = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 9 });

function modelOf({
  dimension,
  components,
  deviation,
  seed,
}: {
  dimension: number;
  components: number;
  deviation: number;
  seed: number;
}) {
  const random = new Generator(seed);
  const denoiser = mixtureDenoiser({
    means: Array.from({ length: components }, () => [...random.randn(dimension)].map((v) => 2 * v)),
    weights: Array.from({ length: components }, (_, k) => k + 1),
    deviation,
  });
  return { denoiser, x: random.randn(dimension) };
}

for (const variant of VARIANTS) {
  const name = `${variant.correction}, ${variant.pipelined ? 'pipelined' : 'barriers'}`;

  test(`${name}: for any model and partition, the first p boundaries are === serial after p iterations`, async () => {
    await fc.assert(
      fc.asyncProperty(models, partitions, async (model, partition) => {
        const { denoiser, x } = modelOf(model);
        const b = boundaries(partition);
        const steps = b[b.length - 1];
        const exact = await trajectory(x, steps, denoiser);
        const { iterations, result } = await collect({ x, steps: smoothGrid(steps), denoiser, partition, ...variant });
        assert.equal(result.status, 'exact');
        assert.deepEqual(result.x, exact[steps]);
        for (const { iteration, boundaries: states, evaluations } of iterations) {
          for (let i = 0; i <= iteration; i++)
            assert.deepEqual(states[i], exact[b[i]], `boundary ${i} of ${iteration}`);
          if (variant.pipelined) assert.ok(evaluations.critical <= steps);
        }
      }),
      { numRuns: 60 },
    );
  });

  test(`${name}: the critical path of every iteration is the planned one`, async () => {
    const { denoiser, x } = modelOf({ dimension: 4, components: 3, deviation: 0.4, seed: 3 });
    for (const partition of [[5, 5, 5, 5, 5], [1, 7, 2, 4], [3], [1, 1, 1], [2, 1, 1, 6]] as Partition[]) {
      const steps = smoothGrid(partition.reduce((a, c) => a + c));
      const { iterations } = await collect({ x, steps, denoiser, partition, ...variant });
      for (const { iteration, evaluations } of iterations) {
        assert.equal(
          evaluations.critical,
          criticalPath(partition, iteration, variant.pipelined),
          `${partition.join()} p=${iteration}`,
        );
      }
    }
  });

  test(`${name}: nothing is evaluated twice, and nothing that is exact already`, async () => {
    const { denoiser, x } = modelOf({ dimension: 3, components: 2, deviation: 0.4, seed: 1 });
    const partition = [3, 2, 5, 4, 6];
    const seen = new Set<string>();
    const once = (key: string) => {
      assert.ok(!seen.has(key), `twice: ${key}`);
      seen.add(key);
    };
    const counting: Denoiser = (request) => {
      const [iteration, block, step] = request.priority;
      once(request.priority.join());
      if (step === 0) once(`${block}: ${request.x.join()}`);
      // Iteration p solves from the states of iteration p - 1, of which the first p are exact and the last of them new.
      assert.ok(step === 0 ? block >= iteration : block >= iteration - 1, `block ${block} in iteration ${iteration}`);
      return denoiser(request);
    };
    const { result } = await collect({ x, steps: smoothGrid(20), denoiser: counting, partition, ...variant });
    const fine = partition.map((length, i) => (i + 1) * (length - 1)).reduce((a, c) => a + c);
    const atBoundaries = (partition.length * (partition.length + 1)) / 2;
    assert.ok(result.evaluations.total <= fine + atBoundaries, `${result.evaluations.total} evaluations`);
  });
}

for (const steps of [1, 2, 5, 25, 50]) {
  test(`${steps} steps with the default blocks end exactly at the serial sample`, async () => {
    const { denoiser, x } = modelOf({ dimension: 4, components: 3, deviation: 0.2, seed: steps });
    const { result } = await collect({ x, steps: smoothGrid(steps), denoiser });
    assert.equal(result.status, 'exact');
    assert.deepEqual(
      result.x,
      (await drive(serial({ x, steps: smoothGrid(steps), solver: ddim }), { denoiser }).result).x,
    );
    assert.ok(result.evaluations.critical <= steps);
  });
}

test('the coarse sweep is exact where every block has one step, and is found to be after one iteration', async () => {
  const { denoiser, x } = modelOf({ dimension: 2, components: 2, deviation: 0.3, seed: 9 });
  const { result } = await collect({ x, steps: smoothGrid(6), denoiser, partition: [1, 1, 1, 1, 1, 1] });
  assert.deepEqual([result.status, result.iterations, result.residuals], ['exact', 1, [0]]);
  assert.deepEqual(result.evaluations, { critical: 6, total: 6 });
});

test('it stops when the residual falls below the tolerance, near the serial sample', async () => {
  const denoiser = mixtureDenoiser(MIXTURE);
  const x = new Generator(4).randn(3);
  const steps = smoothGrid(100);
  const { result, iterations } = await collect({ x, steps, denoiser, tolerance: 1e-3 });
  assert.equal(result.status, 'converged');
  assert.ok(result.residuals.at(-1)! < 1e-3);
  assert.ok(result.residuals.slice(0, -1).every((residual) => residual >= 1e-3));
  assert.ok(result.iterations < defaultPartition(100).length / 2, `${result.iterations} iterations`);
  assert.deepEqual(iterations.at(-1)?.x, result.x);
  const exact = (await drive(serial({ x, steps, solver: ddim }), { denoiser }).result).x;
  assert.ok(Math.max(...result.x.map((v, k) => Math.abs(v - exact[k]))) < 1e-2);
});

test('maxIterations ends the run with a status that says so', async () => {
  const denoiser = mixtureDenoiser(MIXTURE);
  const { result } = await collect({ x: new Generator(4).randn(3), steps: smoothGrid(64), denoiser, maxIterations: 1 });
  assert.deepEqual([result.status, result.iterations, result.residuals.length], ['maxIterations', 1, 1]);
});

test('the residual function decides, and is called with successive iterates', async () => {
  const calls: [Iterate, Iterate][] = [];
  const residual = (now: Iterate, before: Iterate) => {
    calls.push([now, before]);
    return now.iteration === 2 ? 0.1 : 1;
  };
  const { result, iterations } = await collect({
    x: new Generator(5).randn(3),
    steps: smoothGrid(49),
    denoiser: mixtureDenoiser(MIXTURE),
    tolerance: 0.5,
    residual,
  });
  assert.deepEqual([result.status, result.residuals], ['converged', [1, 0.1]]);
  calls.forEach(([now, before], k) => {
    assert.deepEqual([now.iteration, before.iteration], [k + 1, k]);
    assert.equal(now.x, iterations[k + 1].x);
    assert.equal(before.x, iterations[k].x);
  });
});

test('pipelined, later iterations start before earlier ones have ended; with barriers they do not', async () => {
  const order = async (pipelined: boolean) => {
    const denoiser = mixtureDenoiser(MIXTURE);
    const run = drive(srds({ x: new Generator(1).randn(3), steps: smoothGrid(36), solver: ddim, pipelined }), {
      denoiser,
    });
    const early: boolean[] = [];
    let complete = -1;
    for await (const event of run) {
      if (event.type === 'iteration') complete = event.iteration;
      else early.push(event.iteration > complete + 1);
    }
    return early.includes(true);
  };
  assert.equal(await order(true), true);
  assert.equal(await order(false), false);
});

test('pending evaluations are dropped on convergence', async () => {
  const denoiser = mixtureDenoiser(MIXTURE);
  const dropped: unknown[] = [];
  const slow: Denoiser = async (request) => {
    await delay(1, undefined, { signal: request.signal }).catch((error: unknown) => {
      dropped.push(error);
      throw error;
    });
    return denoiser(request);
  };
  const { result } = await collect({
    x: new Generator(4).randn(3),
    steps: smoothGrid(64),
    denoiser: slow,
    tolerance: 0.05,
  });
  assert.equal(result.status, 'converged');
  assert.ok(dropped.length > 0);
});

test('the serial sampler makes one evaluation a step', async () => {
  const sampler = serial({ x: new Generator(4).randn(3), steps: smoothGrid(25), solver: ddim });
  const result = await drive(sampler, { denoiser: mixtureDenoiser(MIXTURE) }).result;
  assert.deepEqual(result.evaluations, { critical: 25, total: 25 });
  assert.equal(result.status, 'exact');
});

test('iterations and tolerances that make no sense are refused at once', () => {
  const options = { x: new Float32Array(1), steps: smoothGrid(5), solver: ddim };
  const denoiser = mixtureDenoiser(MIXTURE);
  for (const bad of [{ maxIterations: 0 }, { maxIterations: 1.5 }, { maxIterations: NaN }]) {
    assert.throws(() => srds({ ...options, ...bad }), { code: 'INVALID_OPTION' }, JSON.stringify(bad));
  }
  for (const tolerance of [NaN, -1]) {
    assert.throws(() => drive(srds(options), { denoiser, tolerance }), { code: 'INVALID_OPTION' }, String(tolerance));
  }
});

test('a partition that does not cover the steps is refused at once', () => {
  const options = { x: new Float32Array(1), steps: smoothGrid(5), solver: ddim };
  assert.throws(() => srds({ ...options, partition: evenPartition(6, 2) }), { code: 'INVALID_OPTION' });
});

test('picard and parataa with a window do not converge before every state was evaluated', async () => {
  const denoiser = mixtureDenoiser(MIXTURE);
  const [dimension] = MIXTURE.means.map((mean) => mean.length);
  for (const sampler of [picard, parataa]) {
    for (const [count, window] of [
      [20, 8],
      [50, 24],
      [50, 32],
    ]) {
      for (let seed = 0; seed < 20; seed++) {
        const x = new Generator(seed).randn(dimension);
        const options = { x, steps: smoothGrid(count), solver: ddim, window, windowTolerance: 0.005 };
        const run = drive(sampler(options), { denoiser, tolerance: 0.01 });
        const evaluated = new Set<number>();
        for await (const event of run) if (event.type === 'evaluation') evaluated.add(event.block);
        assert.equal(evaluated.size, count, `${sampler.name}, ${count} steps, window ${window}, seed ${seed}`);
      }
    }
  }
});
