import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serve } from '../support/serve.js';
import { childrenOf, metric, post, until } from '../support/server.js';

test('metrics count requests, images and evaluations; health is ok', async () => {
  const { url: own } = await serve();
  await post(own, '/v1/images/generations', { prompt: 'a', steps: 9, blocks: 3, tolerance: 0 });
  await post(own, '/v1/images/generations', { prompt: 'a', steps: 4, sampler: 'serial' });
  const text = await (await fetch(`${own}/metrics`)).text();
  const value = (name: string) => Number(new RegExp(`^${name.replace(/[{}"]/g, '\\$&')} (.*)$`, 'm').exec(text)?.[1]);
  assert.equal(value('srds_requests_total{route="/v1/images/generations",status="200"}'), 2);
  assert.ok(value('srds_evaluations_total{kind="coarse"}') >= 3);
  assert.ok(value('srds_evaluations_total{kind="fine"}') >= 9);
  assert.equal(value('srds_images_total{sampler="parallel",status="exact"}'), 1);
  assert.equal(value('srds_iterations_count'), 2);
  assert.equal(value('srds_queue_seconds_count'), 2);
  assert.equal(value('srds_first_preview_seconds_count'), 1);
  assert.equal(value('srds_generation_seconds_count'), 2);
  assert.ok(value('srds_batch_rows_count') > 9);
  assert.ok(value('srds_device_busy_seconds_total{device="cpu"}') > 0);
  assert.equal(value('srds_running'), 0);
  assert.deepEqual(await (await fetch(`${own}/healthz/ready`)).json(), { status: 'ok' });
});

test('a stream that fails is counted with the status that it would have had', async () => {
  const { url: own } = await serve();
  const stream = async (path: string, body: object) => {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(own + path, { method: 'POST', headers, body: JSON.stringify(body) });
    assert.equal(response.status, 200);
    return response.text();
  };
  const late = { prompt: 'a', steps: 250, sampler: 'serial', deadline: 0.2 };
  assert.match(await stream('/srds/v1/generate', late), /event: error/);
  assert.match(await stream('/v1/images/generations', { ...late, stream: true }), /event: error/);
  assert.match(await stream('/srds/v1/generate', { prompt: 'a', steps: 1 }), /event: done/);
  for (const [route, status, count] of [
    ['/srds/v1/generate', 504, 1],
    ['/v1/images/generations', 504, 1],
    ['/srds/v1/generate', 200, 1],
    ['/v1/images/generations', 200, NaN],
  ] as const) {
    const name = `srds_requests_total\\{route="${route}",status="${status}"\\}`;
    assert.equal(await metric(own, name), count, name);
  }
});

test('replaced device processes are counted', async () => {
  const { url: own } = await serve();
  const name = 'srds_device_restarts_total\\{device="cpu"\\}';
  assert.equal(await metric(own, name), NaN);
  const request = { prompt: 'a', steps: 100, sampler: 'serial' };
  const before = await childrenOf(process.pid);
  const running = post(own, '/v1/images/generations', request);
  await until(async () => (await metric(own, 'srds_running')) === 1);
  for (const pid of before) process.kill(pid, 'SIGKILL');
  assert.equal((await running).status, 200);
  assert.equal(await metric(own, name), 1);
});
