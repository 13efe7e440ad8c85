import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cannotGain, plan, planning, type Machine } from 'srds/planner';
import { finish, finishInTurns, simulation } from 'srds/run';
import { serial, type Sampler } from 'srds/sampler';
import { smoothGrid } from 'srds/conformance';
import { ddim } from 'srds/solver';

const points = [2, 8, 16, 32, 64, 128].map((rows) => ({ rows, seconds: 0.006 + rows / 12800 }));
const machine = (images: number): Machine => ({
  devices: [{ padded: true, points }],
  rowsPerEvaluation: 2,
  maxRows: 128,
  images,
});

test('between two yields a simulation finishes a bounded number of evaluations', () => {
  let finished = 0;
  const counted = (): Sampler => {
    const sampler = serial({ x: Float32Array.of(0), steps: smoothGrid(1000), solver: ddim });
    return {
      hasBarriers: sampler.hasBarriers,
      sample: sampler.sample,
      ready: () => sampler.ready(),
      completed: () => sampler.completed(),
      finish: (task, prediction) => {
        finished++;
        sampler.finish(task, prediction);
      },
    };
  };
  const hardware = { devices: [() => 1], rowsPerEvaluation: 2, maxRows: 32, minRows: 0 };
  const steps = simulation([counted(), counted(), counted()], Infinity, hardware);
  let most = 0;
  for (let before = 0; !steps.next().done; before = finished) most = Math.max(most, finished - before);
  assert.equal(finished, 3000);
  assert.ok(most > 0 && most <= 200, String(most));
});

test('a plan in turns is the plan, and leaves the event loop to others', async () => {
  for (const [steps, images] of [
    [100, 1],
    [100, 10],
  ]) {
    let turns = 0;
    const others = setInterval(() => turns++, 0);
    const inTurns = await finishInTurns(planning({ steps }, machine(images)));
    clearInterval(others);
    assert.deepEqual(inTurns, plan({ steps }, machine(images)));
    assert.ok(turns > 0);
  }
});

test('a plan that is no longer wanted ends', async () => {
  const controller = new AbortController();
  const planned = finishInTurns(planning({ steps: 250 }, machine(10)), controller.signal);
  setImmediate(() => controller.abort(new Error('gone')));
  await assert.rejects(planned, /gone/);
});

test('where rows take turns no plan is made, and it would be the serial sampler', () => {
  const linear = (rows: number[]) => ({
    padded: false,
    points: rows.map((count) => ({ rows: count, seconds: 0.01 * count })),
  });
  for (const images of [1, 4]) {
    const slow = { ...machine(images), devices: [linear([2, 4])], maxRows: 4 };
    assert.ok(cannotGain({ steps: 25 }, slow));
    assert.equal(plan({ steps: 25 }, slow).chosen.sampler, 'serial');
    assert.ok(!cannotGain({ steps: 25 }, machine(images)));
  }
  assert.ok(!cannotGain({ steps: 25 }, { ...machine(1), devices: [linear([2, 4]), linear([2, 4])], maxRows: 4 }));
});

test('a simulation ends once it takes longer than is of interest', () => {
  const hardware = { devices: [() => 1], rowsPerEvaluation: 2, maxRows: 32, minRows: 0 };
  const start = () => [serial({ x: Float32Array.of(0), steps: smoothGrid(100), solver: ddim })];
  assert.equal(finish(simulation(start(), Infinity, hardware)).seconds, 100);
  assert.equal(finish(simulation(start(), Infinity, hardware, 10)).seconds, 10);
  assert.deepEqual(
    finish(simulation(start(), Infinity, hardware, 101)),
    finish(simulation(start(), Infinity, hardware)),
  );
});

test('of several images picard is not simulated where its evaluations alone take longer than the serial sampler', () => {
  const samplers = (images: number) => plan({ steps: 100 }, machine(images)).candidates.map(({ sampler }) => sampler);
  assert.ok(samplers(1).includes('picard'));
  assert.ok(!samplers(10).includes('picard'));
  assert.ok(samplers(10).includes('srds'));
});
