import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { addModel } from '../../src/triton/modelRepository.js';
import { fixture, relativeError } from '../support/fixtures.js';
import { evaluate, originalOf } from '../support/networks.js';
import { changeModel, fixAxis, makeUnwilling } from '../support/onnx.js';
import { failureIn, outputOf } from '../support/program.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

let count = 0;
const fresh = () => join(scratch, `repository-${count++}`);

/** Exports a model folder. @returns the repository */
async function exported(folder: string, ...flags: string[]): Promise<string> {
  const repository = fresh();
  await outputOf({}, 'export-triton', folder, repository, ...flags);
  return repository;
}

/** A copy of a fixture's folder whose network is another file. */
function withNetwork(name: string, write: (original: string, to: string) => void): string {
  const folder = join(scratch, `model-${count++}`);
  cpSync(fixture(`models/${name}`), folder, { recursive: true });
  rmSync(join(folder, 'unet/model.onnx'));
  write(fixture(`models/${name}/unet/model.onnx`), join(folder, 'unet/model.onnx'));
  return folder;
}

for (const name of ['sd15', 'sdxl', 'sd3', 'flux-dev', 'flux-schnell']) {
  test(`${name}: a batch of the exported graph, whose rows are at different timesteps, is the rows of the model's own`, async () => {
    const { model, evaluations, rows } = await originalOf(fixture(`models/${name}`));
    const repository = await exported(model.path);
    const path = join(repository, model.family.network, '1/model.onnx');
    const batch = await evaluate({ path }, evaluations, true);
    assert.notDeepEqual(batch[0], batch[3]);
    assert.deepEqual(batch[1], batch[2]);
    batch.forEach((row, k) => {
      if (model.family.network === 'unet') assert.deepEqual(row, rows[k]);
      else assert.ok(relativeError(row, rows[k]) < 1e-5);
    });
    assert.ok(statSync(path).size < 600_000);
  });
}

test('a network whose weights are in other files is exported with them, and its copy needs the original no more', async () => {
  const { evaluations, rows } = await originalOf(fixture('models/sd15'));
  const first = join(await exported(fixture('models/sd15')), 'unet/1');
  const folder = withNetwork('sd15', (_, to) => cpSync(join(first, 'model.onnx'), to));
  cpSync(join(first, 'weights'), join(folder, 'unet/weights'), { recursive: true });
  const second = join(await exported(folder), 'unet/1');
  rmSync(folder, { recursive: true });
  assert.deepEqual(await evaluate({ path: join(second, 'model.onnx'), evenRows: true }, evaluations, true), rows);
});

test('--precision float16 computes in half precision and keeps the interface in float32', async () => {
  const { evaluations, rows } = await originalOf(fixture('models/sd15'));
  const repository = await exported(fixture('models/sd15'), '--precision', 'float16');
  const [row] = await evaluate({ path: join(repository, 'unet/1/model.onnx') }, evaluations, true);
  const error = relativeError(row, rows[0]);
  assert.ok(error > 1e-6 && error < 1e-2, String(error));
  const config = readFileSync(join(repository, 'unet/config.pbtxt'), 'utf8');
  assert.match(config, /"out_sample" data_type: TYPE_FP32/);
  assert.match(config, /"srds_precision" value \{ string_value: "float16" \}/);
});

test('a folder that is not empty is refused; --force adds to it and replaces a model of that name', async () => {
  const repository = fresh();
  mkdirSync(join(repository, 'other/1'), { recursive: true });
  const run = ['export-triton', fixture('models/sd15'), repository];
  const { code, message } = await failureIn({}, ...run);
  assert.equal(code, 5);
  assert.match(message, /expected an empty folder, or none, at .*, found other; --force adds unet there$/);
  await outputOf({}, ...run, '--force');
  const stale = join(repository, 'unet/1/stale.txt');
  writeFileSync(stale, '');
  assert.match((await failureIn({}, ...run)).message, /found 2 entries; --force replaces unet there$/);
  await outputOf({}, ...run, '--force', '--backend', 'python');
  assert.equal(existsSync(stale), false);
  assert.deepEqual(readdirSync(join(repository, 'unet/1')).sort(), ['model.onnx', 'model.py', 'weights']);
  assert.deepEqual(readdirSync(repository).sort(), ['other', 'unet']);
});

test('an export that fails or is aborted leaves nothing, and what was there stays', async () => {
  const signal = new AbortController().signal;
  const written = new Map([['config.pbtxt', 'name: "a"']]);
  const missing = { name: 'a', written, copied: new Map([['1/weights', join(scratch, 'no such file')]]) };
  const repository = fresh();
  await assert.rejects(addModel(join(repository, 'deep'), missing, { force: false, signal }), {
    code: 'OUTPUT_FAILED',
    message: /no such file/,
  });
  assert.equal(existsSync(repository), false);
  await addModel(repository, { name: 'a', written, copied: new Map() }, { force: false, signal });
  await assert.rejects(addModel(repository, missing, { force: true, signal }), { code: 'OUTPUT_FAILED' });
  const aborted = { force: true, signal: AbortSignal.abort(new Error('aborted')) };
  await assert.rejects(addModel(repository, { ...missing, name: 'b' }, aborted), /aborted/);
  assert.deepEqual(readdirSync(repository), ['a']);
  assert.equal(readFileSync(join(repository, 'a/config.pbtxt'), 'utf8'), 'name: "a"');
  const file = join(scratch, 'file');
  writeFileSync(file, '');
  for (const folder of [file, join(file, 'below')]) {
    await assert.rejects(addModel(folder, missing, { force: true, signal }), { code: 'OUTPUT_FAILED' });
  }
});

test('networks whose requests could not share a batch are refused, and so are unusable names and sizes', async () => {
  const unwilling = withNetwork('sd15', (from, to) => changeModel(from, to, makeUnwilling));
  const fixed = withNetwork('sd15', (from, to) =>
    changeModel(from, to, (model) => {
      for (const name of ['sample', 'encoder_hidden_states']) fixAxis(model, name, 0, 4);
    }),
  );
  const cases: [code: number, message: RegExp, folder: string, ...flags: string[]][] = [
    [4, /expected one timestep a row in .*, found one a batch: timestep reaches/, unwilling],
    [4, /expected batches of any size in .*, found of 4 rows only/, fixed],
    [2, /for --name, found "\.\.\/x"/, fixture('models/sd15'), '--name', '../x'],
    [2, /a size of batches, whole and from 1 to 4096, found 0/, fixture('models/sd15'), '--batches', '2,0'],
    [3, /a model folder/, join(scratch, 'nothing')],
  ];
  for (const [code, message, folder, ...flags] of cases) {
    const repository = fresh();
    const failure = await failureIn({}, 'export-triton', folder, repository, ...flags);
    assert.match(failure.message, message);
    assert.equal(failure.code, code);
    assert.equal(existsSync(repository), false);
  }
});
