import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bodyOf,
  defaultsOf,
  flagsOf,
  formOf,
  GENERATION_OPTIONS,
  infotextOf,
  mergeSources,
  option,
  settingsFromEnvironment,
  settingsFromFile,
  valuesFromBody,
  valuesFromInfotext,
} from 'srds/pipeline';
import { z } from 'zod';
import { srdsCli } from '../support/cli.js';

const WITH_SPARKLE = {
  ...GENERATION_OPTIONS,
  sparkleLevel: option(z.int().min(0).max(9), {
    description: 'number of sparks in the image',
    default: 3,
    samplers: ['srds'],
    infotext: { label: 'Sparkle level' },
    control: { label: 'Sparkle', group: 'more' },
  }),
};

test('an option that is added to the schema is a flag with its help', async () => {
  const flag = flagsOf(WITH_SPARKLE).find(({ name }) => name === 'sparkleLevel');
  assert.equal(flag?.usage, '--sparkle-level <n>');
  assert.equal(flag.description, 'number of sparks in the image (default: 3)');
  const { stdout } = await srdsCli(['generate', '--help']);
  const own = flagsOf(GENERATION_OPTIONS);
  for (const { flag: name } of own.filter(({ name }) => name !== 'previews'))
    assert.ok(stdout.includes(`${name} `), name);
});

test('it is a variable of the environment and a setting of a file, and the first source wins', () => {
  const environment = settingsFromEnvironment(WITH_SPARKLE, { SRDS_SPARKLE_LEVEL: '7', SRDS_STEPS: '' });
  const file = settingsFromFile(WITH_SPARKLE, { sparkleLevel: 4, size: '64x32', seed: '9007199254740993' }, 'a.json');
  assert.deepEqual(mergeSources(WITH_SPARKLE, [environment, file], 'see --help'), {
    sparkleLevel: 7,
    size: { width: 64, height: 32 },
    seed: 9007199254740993n,
  });
  for (const [source, found] of [
    [settingsFromEnvironment(WITH_SPARKLE, { SRDS_SPARKLE_LEVEL: 'many' }), /SRDS_SPARKLE_LEVEL, found "many"/],
    [settingsFromFile(WITH_SPARKLE, { sparkleLevel: 10 }, 'a.json'), /0 to 9 for sparkleLevel, found 10 in a\.json/],
  ] as const) {
    assert.throws(() => mergeSources(WITH_SPARKLE, [source], 'see --help'), { code: 'INVALID_OPTION', message: found });
  }
  assert.throws(() => settingsFromFile(WITH_SPARKLE, { sparkle: 1 }, 'a.json'), {
    code: 'INVALID_OPTION',
    message: /found unknown setting "sparkle"; /,
  });
  assert.throws(() => settingsFromFile(WITH_SPARKLE, { sparkelLevel: 1 }, 'a.json'), {
    message: /found unknown setting "sparkelLevel" \(sparkleLevel\?\); /,
  });
});

test('it is a field of HTTP requests with bounds, limits and defaults, and of their JSON schema', () => {
  const body = z.strictObject(
    bodyOf(WITH_SPARKLE, { limits: { sparkleLevel: 5 }, defaults: { steps: 12, sparkleLevel: 2 } }),
  );
  const values = (content: object) => valuesFromBody(WITH_SPARKLE, body.parse(content));
  assert.deepEqual(values({ prompt: 'a', sparkle_level: 4, size: '64x32' }), {
    prompt: 'a',
    steps: 12,
    size: { width: 64, height: 32 },
    sparkleLevel: 4,
  });
  assert.equal(values({ prompt: 'a', sparkle_level: null }).sparkleLevel, 2);
  for (const wrong of [{ sparkle_level: 6 }, { sparkle_level: 'x' }, { sparkle: 1 }]) {
    assert.equal(body.safeParse({ prompt: 'a', ...wrong }).success, false, JSON.stringify(wrong));
  }
  const { properties } = z.toJSONSchema(body, { io: 'input', unrepresentable: 'any' });
  assert.match(JSON.stringify(properties?.sparkle_level), /number of sparks in the image \(default: 2\)/);
  assert.match(JSON.stringify(properties?.sparkle_level), /"maximum":5/);
});

test('it has a default, a place in PNG files that is read back, and a control of the form', () => {
  assert.equal(defaultsOf(WITH_SPARKLE).sparkleLevel, 3);
  const values = {
    prompt: 'a red ball,\non sand',
    negativePrompt: 'blue: all of it',
    steps: 9,
    solver: 'dpm2s',
    seed: 5n,
    size: { width: 64, height: 32 },
    sampler: 'srds',
    pipelined: false,
    blocks: [2, 3, 4],
    tolerance: 0.25,
    sparkleLevel: 8,
  } as const;
  const text = infotextOf(WITH_SPARKLE, values);
  assert.match(text, /, Sampler: DPM\+\+ 2S, .*SRDS tolerance: 0\.25, Sparkle level: 8$/);
  assert.deepEqual(valuesFromInfotext(WITH_SPARKLE, text), values);
  assert.doesNotMatch(infotextOf(WITH_SPARKLE, { ...values, sampler: 'serial' }), /Sparkle|SRDS/);

  const control = formOf(WITH_SPARKLE, { limits: { sparkleLevel: 5 } }).find(({ name }) => name === 'sparkleLevel');
  assert.deepEqual(
    [control?.field, control?.label, control?.kind, control?.group, control?.initial, control?.min, control?.max],
    ['sparkle_level', 'Sparkle', 'integer', 'more', 3, 0, 5],
  );
  assert.deepEqual(JSON.parse(JSON.stringify(control)), {
    ...{ name: 'sparkleLevel', field: 'sparkle_level', label: 'Sparkle', kind: 'integer', group: 'more', wide: false },
    ...{ initial: 3, min: 0, max: 5, samplers: ['srds'], labels: ['Sparkle level'], titles: {} },
  });
});
