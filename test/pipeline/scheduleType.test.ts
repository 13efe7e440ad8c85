import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseScheduleConfig, readModelFolder } from 'srds/model';
import { settingsOf, valuesFromInfotext, GENERATION_OPTIONS } from 'srds/pipeline';
import { fineGrid } from 'srds/schedule';
import { fixture } from '../support/fixtures.js';
import { SD15 } from '../support/server.js';

const model = await readModelFolder(SD15);
const flow = await readModelFolder(fixture('models/sd3'));
const file = JSON.parse(readFileSync(`${SD15}/scheduler/scheduler_config.json`, 'utf8')) as object;

test("the schedule type replaces the file's use_karras_sigmas", () => {
  const solvers = { euler: 'euler', heun: 'heun', dpm2m: 'dpm', dpm2s: 'dpm' } as const;
  for (const [solver, scheduler] of Object.entries(solvers)) {
    for (const scheduleType of ['karras', 'uniform'] as const) {
      const options = { prompt: 'a', steps: 6, solver: solver as 'euler', sampler: 'serial', scheduleType } as const;
      const { grid, ignoredOptions } = settingsOf(options, model);
      const config = parseScheduleConfig({ ...file, use_karras_sigmas: scheduleType === 'karras' }, { scheduler });
      assert.deepEqual(grid, fineGrid(config, 6));
      assert.equal(ignoredOptions, undefined);
    }
  }
  const [karras, uniform] = (['karras', 'uniform'] as const).map(
    (scheduleType) => settingsOf({ prompt: 'a', steps: 6, solver: 'euler', scheduleType }, model).grid,
  );
  assert.notDeepEqual(karras, uniform);
});

test('where solvers have no noise levels of their own, it causes a warning', () => {
  const warning = (solver: 'ddim' | 'ddpm' | 'euler', folder = model) =>
    settingsOf({ prompt: 'a', solver, sampler: 'serial', scheduleType: 'karras' }, folder).ignoredOptions;
  assert.match(
    warning('ddim') ?? '',
    /solver ddim does nothing with scheduleType \(for euler, heun, dpm1, dpm2s, dpm2m\)/,
  );
  assert.match(warning('ddpm') ?? '', /solver ddpm does nothing/);
  assert.equal(warning('euler'), undefined);
  assert.match(warning('euler', flow) ?? '', /this model does nothing with scheduleType/);
});

test('it is read from files of web UIs', () => {
  const text = 'a\nSteps: 20, Sampler: Euler, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 64x64';
  assert.equal(valuesFromInfotext(GENERATION_OPTIONS, text).scheduleType, 'karras');
  const other = text.replace('Karras', 'Exponential');
  assert.equal(valuesFromInfotext(GENERATION_OPTIONS, other).scheduleType, undefined);
});
