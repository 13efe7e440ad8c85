import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readModelFolder, type ModelFolder } from 'srds/model';
import { settingsOf } from 'srds/pipeline';
import { fixture } from '../support/fixtures.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

/** Reads a copy of a fixture in which a JSON file has other fields; undefined: without the file. */
async function readWith(
  model: string,
  file: string,
  change: object | undefined,
  others: Readonly<Record<string, object>> = {},
): Promise<ModelFolder> {
  const folder = mkdtempSync(join(scratch, 'model-'));
  cpSync(fixture(`models/${model}`), folder, { recursive: true });
  for (const [name, fields] of Object.entries({ [file]: change, ...others })) {
    const path = join(folder, name);
    if (fields === undefined) rmSync(path);
    else writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), ...fields }));
  }
  return readModelFolder(folder);
}

const SCHEDULER = 'scheduler/scheduler_config.json';

test('SD3: size, steps and tokens follow its configuration, and the T5 encoder may be absent', async () => {
  const model = await readModelFolder(fixture('models/sd3'));
  assert.deepEqual(
    [model.size, model.sizeStep, model.maxSide, model.defaults, model.sequenceLength],
    [{ width: 80, height: 80 }, 8, 160, { steps: 28, guidance: 7 }, { default: 256, max: 512 }],
  );
  assert.deepEqual(model.latentScale.mean, Array(16).fill(0.0609));
  assert.ok(model.textEncoders.every((encoder) => encoder));
  const without = await readModelFolder(fixture('models/sd3-no-t5'));
  assert.equal(without.textEncoders[2], undefined);
  const unnamed = await readWith('sd3', 'model_index.json', { text_encoder_3: undefined });
  assert.equal(unnamed.textEncoders[2], undefined);
});

test('Flux: dev takes the guidance scale and a shift by size, schnell neither', async () => {
  const [dev, schnell] = [
    await readModelFolder(fixture('models/flux-dev')),
    await readModelFolder(fixture('models/flux-schnell')),
  ];
  assert.deepEqual(
    [dev.defaults, dev.sequenceLength],
    [
      { steps: 28, guidance: 3.5 },
      { default: 512, max: 512 },
    ],
  );
  assert.deepEqual(
    [schnell.defaults, schnell.sequenceLength],
    [
      { steps: 4, guidance: 0 },
      { default: 256, max: 512 },
    ],
  );
  assert.deepEqual([dev.size, dev.sizeStep, dev.maxSide], [{ width: 512, height: 512 }, 8, undefined]);
  assert.equal(dev.fewSteps, undefined);
  assert.match(schnell.fewSteps!, /schnell/);
  const settings = (model: ModelFolder, options: object) => settingsOf({ prompt: 'a', ...options }, model);
  const negative = { negativePrompt: 'b', trueGuidance: 2 };
  const scales = [{}, { negativePrompt: 'b' }, { trueGuidance: 2 }, negative].map((one) => settings(dev, one).cfgScale);
  assert.deepEqual(scales, [1, 1, 1, 2]);
  assert.match(
    settings(dev, { negativePrompt: 'b' }).ignoredOptions!,
    /trueGuidance 1 does nothing with negativePrompt/,
  );
  assert.match(settings(dev, { trueGuidance: 2 }).ignoredOptions!, /trueGuidance does nothing without negativePrompt/);
  assert.match(settings(schnell, { guidance: 3 }).ignoredOptions!, /nothing with guidance \(for models that take/);
  assert.equal(settings(dev, { guidance: 3, ...negative }).ignoredOptions, undefined);
});

test('transformers of other kinds of Flux are refused', async () => {
  for (const change of [
    { in_channels: 384, out_channels: 64 },
    { in_channels: 128 },
    { in_channels: 66 },
    { patch_size: 2 },
  ]) {
    await assert.rejects(readWith('flux-dev', 'transformer/config.json', change), { code: 'MODEL_INVALID' });
  }
});

test('files of SD3 that cannot be used are refused by name', async () => {
  for (const [file, change, code, message] of [
    ['text_encoder_3/model.onnx', undefined, 'MODEL_INVALID', /no text_encoder_3\/model\.onnx/],
    ['tokenizer_3/tokenizer.json', undefined, 'MODEL_INVALID', /no tokenizer_3\/tokenizer\.json/],
    ['transformer/config.json', undefined, 'MODEL_INVALID', /no transformer\/config\.json/],
    ['transformer/config.json', { in_channels: 32 }, 'MODEL_INVALID', /further input channels/],
    ['transformer/config.json', { in_channels: 4, out_channels: 4 }, 'MODEL_INVALID', /a VAE of 4 latent channels/],
    ['transformer/config.json', { pos_embed_max_size: 'x' }, 'MODEL_INVALID', /pos_embed_max_size/],
    [SCHEDULER, { _class_name: 'DDIMScheduler' }, 'MODEL_INVALID', /FlowMatchEulerDiscreteScheduler/],
    [SCHEDULER, { _class_name: 'FlowMatchHeunDiscreteScheduler' }, 'MODEL_INVALID', /FlowMatchEuler/],
    [
      'model_index.json',
      { scheduler: ['diffusers', 'EulerDiscreteScheduler'] },
      'MODEL_INVALID',
      /FlowMatchEuler.*found Euler/,
    ],
    [SCHEDULER, { use_karras_sigmas: true }, 'MODEL_INVALID', /use_karras_sigmas is not supported/],
    [SCHEDULER, { shift_terminal: 0.1 }, 'MODEL_INVALID', /shift_terminal is not supported/],
    [SCHEDULER, { shift: 0 }, 'MODEL_INVALID', /shift/],
  ] as const) {
    await assert.rejects(readWith('sd3', file, change), { code, message }, file);
  }
});

test('the shift of a schedule may depend on the size, exponentially or linearly', async () => {
  const shiftAt = async (tokens: number, type?: string) => {
    const { scheduler } = await readWith('sd3', SCHEDULER, { use_dynamic_shifting: true, time_shift_type: type });
    const schedule = scheduler.scheduleFor('euler', { tokens });
    assert.ok(schedule.scheduler === 'flow');
    return schedule.shift;
  };
  assert.equal(await shiftAt(256), Math.exp(0.5));
  assert.equal(await shiftAt(4096), Math.exp(1.15));
  assert.equal(await shiftAt(256, 'linear'), 0.5);
  const { scheduler } = await readWith('sd3', SCHEDULER, { use_dynamic_shifting: true, max_shift: 1e9 });
  assert.throws(() => scheduler.scheduleFor('euler', { tokens: 400 }), {
    code: 'MODEL_INVALID',
    message: /a shift of/,
  });
});

test('SD3: options out of range are refused in one line', async () => {
  const model = await readModelFolder(fixture('models/sd3'));
  for (const [options, message] of [
    [{ width: 168 }, /a width in multiples of 8 pixels, 8 to 160, .* found 168; try 160/],
    [{ height: 12 }, /a height in multiples of 8 .* found 12/],
    [{ solver: 'heun' }, /one of the solvers ddim, ddpm, euler, dpm1 for a flow matching model, found heun/],
    [{ solver: 'dpm2m' }, /found dpm2m/],
    [{ maxSequenceLength: 513 }, /from 1 to 512/],
    [{ eta: 0.5 }, /eta with the solver ddim only/],
  ] as const) {
    assert.throws(() => settingsOf({ prompt: 'a', ...options }, model), { code: 'INVALID_OPTION', message });
  }
});

test('options without effect on a model are named', async () => {
  const sd3 = await readModelFolder(fixture('models/sd3'));
  const sd15 = await readModelFolder(fixture('models/sd15'));
  const warningOf = (model: ModelFolder, options: object) =>
    settingsOf({ prompt: 'a', ...options }, model).ignoredOptions;
  assert.equal(warningOf(sd3, { prompt2: 'b', prompt3: 'c', maxSequenceLength: 9, negativePrompt: 'd' }), undefined);
  assert.match(
    warningOf(sd3, { spacing: 'trailing', trueGuidance: 2 })!,
    /trueGuidance .* and spacing \(for models without/,
  );
  assert.match(warningOf(sd3, { guidance: 1, negativePrompt: 'd' })!, /guidance 1 does nothing with negativePrompt/);
  assert.match(
    warningOf(sd15, { prompt2: 'b', maxSequenceLength: 9 })!,
    /prompt2 .* and maxSequenceLength \(for models with T5\)/,
  );
});

test('strength runs as many steps as in the pipeline of the family', async () => {
  const init = { width: 16, height: 16, data: new Uint8Array(3 * 16 * 16) };
  const run = (model: ModelFolder, steps: number, strength: number) =>
    settingsOf({ prompt: 'a', init, steps, strength, sampler: 'serial' }, model).grid.length;
  const [sd3, sd15] = [await readModelFolder(fixture('models/sd3')), await readModelFolder(fixture('models/sd15'))];
  // diffusers computes in floating point: 25 * 0.56 is above 14.
  for (const [steps, strength, taken] of [
    [25, 0.56, 15],
    [50, 0.56, 29],
    [75, 0.68, 52],
    [100, 0.55, 56],
    [100, 0.6, 60],
    [10, 0.05, 1],
  ] as const) {
    assert.equal(run(sd3, steps, strength), taken);
  }
  assert.equal(run(sd15, 25, 0.56), 14);
});

test('a snapshot in the cache of the hub has the name of its repository', async () => {
  const path = join(scratch, 'models--owner--name/snapshots/0123abcd');
  cpSync(fixture('models/sd3'), path, { recursive: true });
  assert.equal((await readModelFolder(path)).name, 'owner/name');
});

test('models that were distilled to few steps are recognized by their names', async () => {
  const { fewSteps } = await readModelFolder(fixture('models/sd3'), 'stabilityai/stable-diffusion-3.5-large-turbo');
  assert.match(fewSteps!, /3\.5-large-turbo/);
  assert.equal((await readModelFolder(fixture('models/sd3'), 'someone/turbot')).fewSteps, undefined);
  const fromPath = async (path: string) =>
    (await readWith('sdxl', 'model_index.json', { _name_or_path: path })).fewSteps;
  assert.match((await fromPath('x/sdxl_lightning'))!, /lightning/);
  assert.match((await fromPath('/models/sdxl-turbo/'))!, /sdxl-turbo/);
  assert.match((await fromPath('/cache/models--stabilityai--sdxl-turbo/snapshots/71153311'))!, /sdxl-turbo/);
  assert.match((await fromPath('ByteDance/Hyper-SD'))!, /Hyper-SD/);
  for (const other of [
    'turbo/sdxl',
    'x/hyper-realistic',
    '/home/turbo/models--a--b/snapshots/71153311',
    'C:\\turbo\\b',
  ])
    assert.equal(await fromPath(other), undefined, other);
  // The class is that of model_index.json.
  const ancestral = { scheduler: ['diffusers', 'EulerAncestralDiscreteScheduler'] };
  const spaced = (timestep_spacing: string) =>
    readWith('sdxl', 'model_index.json', ancestral, { [SCHEDULER]: { timestep_spacing } });
  assert.match((await spaced('trailing')).fewSteps!, /turbo/);
  assert.equal((await spaced('leading')).fewSteps, undefined);
});
