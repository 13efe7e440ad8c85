import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mixtureDenoiser, smoothGrid } from 'srds/conformance';
import { Generator } from 'srds/random';
import { drive, type Denoiser, type SamplerEvent } from 'srds/run';
import { paradigms, parataa, picard, serial, srds, type Sampler, type SerialOptions } from 'srds/sampler';
import { noiseSchedule, scheduleConfig, withNoise, type SolverStep } from 'srds/schedule';
import { ddim, ddimEta, ddpm, dpm1, dpm2m, dpm2s, euler, heun, masked, type AnySolver } from 'srds/solver';

/** Six dimensions, and three components that are close. */
const SIZE = 6;
const random = new Generator(5);
const denoiser: Denoiser = mixtureDenoiser({
  means: [1, 2, 3].map(() => [...random.randn(SIZE)]),
  weights: [0.2, 0.3, 0.5],
  deviation: 0.3,
});
const known = new Generator(6).randn(SIZE);
const noise = new Generator(7).randn(SIZE);
const x = new Generator(8).randn(SIZE);
const schedule = scheduleConfig({});

const SAMPLERS: Readonly<Record<string, (options: SerialOptions, length: number) => Sampler>> = {
  srds: (options) => srds(options),
  parareal: (options) => srds({ ...options, correction: 'parareal', pipelined: false }),
  picard: (options) => picard(options),
  'picard, window': (options, length) => picard({ ...options, window: length }),
  paradigms: (options) => paradigms(options),
  'paradigms, window': (options, length) => paradigms({ ...options, window: length }),
  parataa: (options) => parataa(options),
  'parataa, window': (options, length) => parataa({ ...options, window: length, order: 2 }),
};

/** smoothGrid up to no noise, with steps that end elsewhere than the next begins, as those of DDIM do. */
function gridOf(count: number, shifted: boolean): SolverStep[] {
  return smoothGrid(count).map(({ from, to }, i) => ({
    from,
    to: { t: to.t, alphaBar: i + 1 === count ? 1 : to.alphaBar + (shifted ? 0.002 : 0) },
  }));
}

function maskedOptions(solver: AnySolver, free: Float32Array, steps: readonly SolverStep[]): SerialOptions {
  return { x, steps, solver: masked(solver, { free, known, noise, steps }) };
}

async function iteratesOf(sampler: Sampler, tolerance = 0) {
  const run = drive(sampler, { denoiser, tolerance });
  const iterates: Float32Array[] = [];
  for await (const event of run as AsyncIterable<SamplerEvent>) if (event.type === 'iteration') iterates.push(event.x);
  return { iterates, result: await run.result };
}

const ONE_STEP = { ddim, ddpm, euler, dpm1, eta: ddimEta(0.5), heun, dpm2s: dpm2s(noiseSchedule(schedule)) };
const masks = fc.array(fc.constantFrom(0, 1), { minLength: SIZE, maxLength: SIZE });

for (const [name, solver] of Object.entries(ONE_STEP)) {
  test(`${name} with any mask: every sampler ends at the serial sample, ===, and every iterate has what is known`, async () => {
    const several = solver.evaluationsPerStep > 1;
    await fc.assert(
      fc.asyncProperty(masks, fc.integer({ min: 1, max: 12 }), fc.boolean(), async (mask, count, shifted) => {
        const draws = new Generator(count);
        const grid = withNoise(gridOf(count, shifted && !several), () => draws.randn(SIZE));
        const steps = name === 'ddpm' || name === 'eta' ? grid : gridOf(count, shifted && !several);
        const options = maskedOptions(solver, Float32Array.from(mask), steps);
        const { result: expected } = await iteratesOf(serial(options));
        for (const [sampler, make] of Object.entries(SAMPLERS)) {
          if (several && sampler !== 'srds' && sampler !== 'parareal') continue;
          const { iterates, result } = await iteratesOf(make(options, Math.ceil(count / 3)));
          assert.equal(result.status, 'exact');
          assert.deepEqual(result.x, expected.x, sampler);
          for (const one of iterates)
            one.forEach((value, k) => assert.ok(mask[k] === 1 || value === known[k], sampler));
        }
      }),
      { numRuns: 25 },
    );
  });
}

test('each step ends with the known part at the noise level where the next begins, the last without noise', async () => {
  const free = Float32Array.of(0, 1, 0, 1, 1, 0);
  for (const solver of [ddim, heun, dpm2m({ firstOrderAtEnd: true, solverType: 'midpoint' })]) {
    const steps = gridOf(5, solver === ddim);
    const seen: { readonly x: Float32Array; readonly alphaBar: number }[] = [];
    const watching: Denoiser = (request) => {
      seen.push({ x: request.x, alphaBar: request.level.alphaBar });
      return denoiser(request);
    };
    const { result } = drive(serial(maskedOptions(solver, free, steps)), { denoiser: watching });
    const end = await result;
    // The first evaluation is of what the sampler starts from.
    for (const { x: state, alphaBar } of [...seen.slice(1), { x: end.x, alphaBar: 1 }]) {
      const expected = known.map((value, k) => Math.sqrt(alphaBar) * value + Math.sqrt(1 - alphaBar) * noise[k]);
      state.forEach((value, k) =>
        assert.equal(value === expected[k], free[k] === 0, `${solver.name} ${alphaBar} ${k}`),
      );
    }
  }
});

test('a mask that frees all changes nothing', async () => {
  const steps = gridOf(7, true);
  for (const solver of [ddim, heun]) {
    const plain = await iteratesOf(serial({ x, steps, solver }));
    const free = await iteratesOf(serial(maskedOptions(solver, new Float32Array(SIZE).fill(1), steps)));
    assert.deepEqual(free.result.x, plain.result.x);
  }
});

test('the end of the trajectory may have a scale of its own', async () => {
  const steps = gridOf(4, false);
  const solver = masked(ddim, { free: new Float32Array(SIZE), known, noise, steps, endScale: 0.5 });
  const { x: end } = await drive(serial({ x, steps, solver }), { denoiser }).result;
  assert.deepEqual(
    end,
    known.map((value) => value / 2),
  );
});

test('with a mask the samplers that move all states converge as quickly as without', async () => {
  const steps = gridOf(40, false);
  const free = Float32Array.of(0, 1, 0, 1, 1, 0);
  for (const [name, make] of Object.entries(SAMPLERS)) {
    const passes = async (options: SerialOptions) => (await iteratesOf(make(options, 40), 1e-3)).result.iterations;
    const plain = await passes({ x, steps, solver: ddim });
    const part = await passes(maskedOptions(ddim, free, steps));
    assert.ok(part <= plain + 3, `${name}: ${part} passes against ${plain}`);
  }
});
