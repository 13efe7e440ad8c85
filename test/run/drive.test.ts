import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { mixtureDenoiser, smoothGrid } from 'srds/conformance';
import { Generator } from 'srds/random';
import { drive, type Denoiser } from 'srds/run';
import { serial, srds, type Sampler } from 'srds/sampler';
import { ddim } from 'srds/solver';
import { MIXTURE } from '../support/mixture.js';

test('aborting ends a run at once with the last iterate, even if the denoiser ignores the signal', async () => {
  const denoiser = mixtureDenoiser(MIXTURE);
  for (const sampler of [serial, srds]) {
    let calls = 0;
    let reached: () => void = () => undefined;
    const isStuck = new Promise<void>((resolve) => (reached = resolve));
    const stuck: Denoiser = (request) => (++calls > 12 ? new Promise(() => reached()) : denoiser(request));
    const controller = new AbortController();
    const x = new Generator(4).randn(3);
    const { signal } = controller;
    const run = drive(sampler({ x, steps: smoothGrid(25), solver: ddim }), { denoiser: stuck, signal });
    await isStuck;
    controller.abort();
    const result = await run.result;
    assert.equal(result.status, 'aborted');
    assert.equal(result.x.length, 3);
  }
});

test('a signal that is aborted before the start makes no evaluation', async () => {
  const denoiser: Denoiser = () => assert.fail('evaluated');
  for (const sampler of [serial, srds]) {
    const options = { x: new Float32Array(2), steps: smoothGrid(5), solver: ddim };
    const result = await drive(sampler(options), { denoiser, signal: AbortSignal.abort() }).result;
    assert.deepEqual([result.status, result.evaluations.total], ['aborted', 0]);
  }
});

test('leaving the loop over events early aborts the run', async () => {
  const denoiser = mixtureDenoiser(MIXTURE);
  const slow: Denoiser = async (request) => (await delay(1), denoiser(request));
  const run = drive(srds({ x: new Generator(4).randn(3), steps: smoothGrid(100), solver: ddim }), { denoiser: slow });
  for await (const event of run) if (event.type === 'iteration') break;
  assert.equal((await run.result).status, 'aborted');
});

test('an error of the denoiser fails the run and its events', async () => {
  const denoiser = mixtureDenoiser(MIXTURE);
  for (const sampler of [serial, srds]) {
    let calls = 0;
    const failing: Denoiser = (request) =>
      ++calls === 7 ? Promise.reject(new Error('device lost')) : denoiser(request);
    const run = drive(sampler({ x: new Generator(4).randn(3), steps: smoothGrid(25), solver: ddim }), {
      denoiser: failing,
    });
    await assert.rejects(async () => {
      for await (const event of run) assert.ok(event.type);
    }, /device lost/);
    await assert.rejects(run.result, /device lost/);
  }
});

test('an error of the sampler fails the run, whichever of its methods throws', async () => {
  const options = { x: new Generator(4).randn(3), steps: smoothGrid(25), solver: ddim };
  for (const method of ['ready', 'finish', 'completed'] as const) {
    for (const call of [1, 2, 9]) {
      const sampler = srds(options);
      let calls = 0;
      const broken = new Proxy(sampler, {
        get(target, name) {
          if (name === method && ++calls === call) throw new Error('broken sampler');
          const value: unknown = Reflect.get(target, name, target);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      }) satisfies Sampler;
      await assert.rejects(drive(broken, { denoiser: mixtureDenoiser(MIXTURE) }).result, /broken sampler/);
    }
  }
});
