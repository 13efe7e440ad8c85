import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readModelFolder } from 'srds/model';
import { namedSampler, type GivenSampler } from '../../../src/server/sdapi/samplerNames.js';
import { fixture } from '../../support/fixtures.js';
import { SD15 } from '../../support/server.js';

const served = async (path: string) => ({ name: 'a', folder: await readModelFolder(path), bytes: 0 });
const sd15 = await served(SD15);
const flow = await served(fixture('models/sd3'));

function read(given: GivenSampler, model = sd15, usual: Parameters<typeof namedSampler>[2] = {}) {
  const { options, concessions } = namedSampler(given, model, usual);
  const { solver, scheduleType, eta } = options;
  return [solver, scheduleType, eta, concessions.map(({ param }) => param).join()];
}

test('names of web UIs, of other programs and with schedule types select the nearest solver', () => {
  const cases: [string, ...ReturnType<typeof read>][] = [
    ['Euler', 'euler', undefined, undefined, ''],
    ['DPM++ 2M', 'dpm2m', undefined, undefined, ''],
    ['DPM++ 2M Karras', 'dpm2m', 'karras', undefined, ''],
    ['k_dpmpp_2m', 'dpm2m', undefined, undefined, ''],
    ['dpm2m', 'dpm2m', undefined, undefined, ''],
    ['Euler a', 'ddpm', undefined, undefined, 'sampler_name'],
    ['euler_ancestral', 'ddpm', undefined, undefined, 'sampler_name'],
    ['DPM++ 2M SDE Karras', 'dpm2m', 'karras', undefined, 'sampler_name'],
    ['DPM++ SDE', 'dpm2s', undefined, undefined, 'sampler_name'],
    ['UniPC', 'dpm2m', undefined, undefined, 'sampler_name'],
    ['LMS', 'pndm', undefined, undefined, 'sampler_name'],
    ['LMS Karras', 'pndm', undefined, undefined, 'sampler_name,scheduler'],
    ['DPM++ 2M Exponential', 'dpm2m', undefined, undefined, 'scheduler'],
    ['a sampler of tomorrow', undefined, undefined, undefined, 'sampler_name'],
    ['Automatic', undefined, undefined, undefined, ''],
    ['', undefined, undefined, undefined, ''],
  ];
  for (const [name, ...expected] of cases) {
    assert.deepEqual(read({ sampler_name: name }), expected, name);
    assert.deepEqual(read({ sampler_index: name }), expected, name);
  }
});

test('the schedule type of a field; eta for DDIM only', () => {
  assert.deepEqual(read({ sampler_name: 'Heun', scheduler: 'karras' }), ['heun', 'karras', undefined, '']);
  assert.deepEqual(read({ sampler_name: 'Heun', scheduler: 'Uniform' }), ['heun', 'uniform', undefined, '']);
  assert.deepEqual(read({ sampler_name: 'Heun', scheduler: 'Automatic' }), ['heun', undefined, undefined, '']);
  assert.deepEqual(read({ sampler_name: 'Heun', scheduler: 'Beta' }), ['heun', undefined, undefined, 'scheduler']);
  assert.deepEqual(read({ sampler_name: 'DDIM', scheduler: 'Uniform' }), ['ddim', undefined, undefined, '']);
  assert.deepEqual(read({ sampler_name: 'DDIM', eta: 0.5 }), ['ddim', undefined, 0.5, '']);
  assert.deepEqual(read({ sampler_name: 'Euler', eta: 1 }), ['euler', undefined, undefined, 'eta']);
  assert.deepEqual(read({ sampler_name: 'Euler', eta: 0 }), ['euler', undefined, undefined, '']);
  assert.deepEqual(read({ eta: 1 }), [undefined, undefined, undefined, 'eta']);
});

test("the server's defaults count where no sampler is named; a model gets only what it supports", () => {
  assert.deepEqual(read({}, sd15, { solver: 'heun' }), ['heun', undefined, undefined, '']);
  assert.deepEqual(read({}, sd15, { solver: 'ddim', eta: 0.3 }), ['ddim', undefined, 0.3, '']);
  assert.deepEqual(read({ sampler_name: 'Euler' }, sd15, { eta: 0.3 }), ['euler', undefined, undefined, '']);
  assert.deepEqual(read({ sampler_name: 'Euler' }, flow), ['euler', undefined, undefined, '']);
  assert.deepEqual(read({ sampler_name: 'DPM++ 2M Karras' }, flow), [
    undefined,
    undefined,
    undefined,
    'sampler_name,scheduler',
  ]);
});
