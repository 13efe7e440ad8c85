import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Batcher } from 'srds/engine';
import { drive } from 'srds/run';
import { defaultPartition, serial, srds } from 'srds/sampler';
import { ddim } from 'srds/solver';
import { smoothGrid } from 'srds/conformance';
import { virtualDenoiser } from '../support/virtual.js';
import { VirtualClock } from '../support/virtualClock.js';
import { VirtualEndpoint, VirtualFleet, type Fate } from '../support/virtualFleet.js';

const STEPS = 50;
const IMAGES = 16;
const ENDPOINTS = 64;
/** Milliseconds of a batch: an SD-2.1-size network, and a round trip. */
const milliseconds = (rows: number) => 2 + Math.max(7.1, 3.1 * rows);

/** Pseudo-random numbers from 0 to 1 (Numerical Recipes, 7.1). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

interface Fleet {
  readonly endpoints?: number;
  /** Share of batches that meet each fate; the others run. */
  readonly shares?: Partial<Record<Fate, number>>;
  readonly hedge?: number;
  /** Default: SRDS with its usual blocks. */
  readonly start?: typeof serial;
}

const usual: typeof serial = (options) => srds({ ...options, partition: defaultPartition(STEPS) });

/** Generates images on a fleet. @returns their samples, the milliseconds they took, and how often each fate was met */
async function generate({ endpoints: count = ENDPOINTS, shares = {}, hedge, start = usual }: Fleet) {
  const random = randomNumbers(7);
  const clock = new VirtualClock(random);
  const fate = (): Fate => {
    let left = random();
    for (const [name, share] of Object.entries(shares)) if ((left -= share) < 0) return name as Fate;
    return 'runs';
  };
  const endpoints = Array.from(
    { length: count },
    (_, k) => new VirtualEndpoint(`oip+http://host-${k}:8000/unet`, 8, clock, milliseconds, fate),
  );
  const batcher = new Batcher(new VirtualFleet(clock, endpoints, hedge));
  const runs = Array.from({ length: IMAGES }, (_, image) => {
    const denoiser = virtualDenoiser(batcher, image);
    const given = { x: Float32Array.of(0.1 * image), steps: smoothGrid(STEPS), solver: ddim };
    return drive(start(given), { denoiser }).result;
  });
  const results = await clock.until(Promise.all(runs));
  const met = (name: Fate) => endpoints.reduce((sum, endpoint) => sum + endpoint.met[name], 0);
  return {
    samples: results.map(({ x }) => x),
    statuses: results.map(({ status }) => status),
    milliseconds: clock.now(),
    met,
  };
}

const FAULTS: Fleet['shares'] = { straggles: 0.03, busy: 0.03, fails: 0.03, dies: 0.005 };

/** The images of the serial sampler, without faults. */
const { samples: SERIAL } = await generate({ start: serial });

test('64 endpoints of which some straggle, refuse, fail and die finish every image, and each is the serial one', async () => {
  const whole = await generate({});
  assert.deepEqual([whole.met('straggles'), whole.met('fails')], [0, 0]);
  assert.deepEqual(whole.samples, SERIAL);
  const faulty = await generate({ shares: FAULTS });
  for (const name of ['straggles', 'busy', 'fails', 'dies'] as const) assert.ok(faulty.met(name) > 5, name);
  assert.ok(faulty.met('dies') < ENDPOINTS / 2);
  assert.deepEqual(faulty.samples, SERIAL);
  assert.ok(faulty.statuses.every((status) => status === 'exact'));
  // A straggling batch takes as long as 20 others, and on its way an image waits for few of them.
  assert.ok(faulty.milliseconds < 4 * whole.milliseconds, `${faulty.milliseconds} against ${whole.milliseconds}`);
});

test('hedging of stragglers makes the fleet faster, and changes no image', async () => {
  const [plain, hedged] = [
    await generate({ shares: { straggles: 0.05 } }),
    await generate({ shares: { straggles: 0.05 }, hedge: 2 }),
  ];
  assert.ok(hedged.milliseconds < 0.7 * plain.milliseconds, `${hedged.milliseconds} against ${plain.milliseconds}`);
  assert.deepEqual(hedged.samples, SERIAL);
});

test('an endpoint that is alone and fails at times is waited for; where all are dead, an error names one', async () => {
  const { samples, met } = await generate({ endpoints: 1, shares: { fails: 0.02 } });
  assert.ok(met('fails') > 5);
  assert.deepEqual(samples, SERIAL);
  await assert.rejects(generate({ endpoints: 2, shares: { dies: 0.2 } }), {
    code: 'ENGINE_FAILED',
    message: /oip\+http:\/\/host-\d:8000\/unet/,
  });
});
