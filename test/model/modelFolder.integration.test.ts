import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Pipeline, SrdsError } from 'srds';
import { fixture } from '../support/fixtures.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
const folder = join(scratch, 'model');
cpSync(fixture('models/sd15'), folder, { recursive: true });
after(() => rmSync(scratch, { recursive: true }));

const files = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
  .sort();
/** Not needed to generate an image from text, or only where another file lacks the value. */
const OPTIONAL = ['tokenizer/special_tokens_map.json', 'vae_encoder/config.json', 'vae_encoder/model.onnx'];

/** The error of opening the folder, with a file replaced; undefined if it opens. */
async function openWith(file: string, content: Uint8Array | string | undefined): Promise<SrdsError | undefined> {
  const path = join(folder, file);
  const original = readFileSync(path);
  if (content === undefined) rmSync(path);
  else writeFileSync(path, content);
  try {
    const pipeline = await Pipeline.open(folder);
    await pipeline.close();
    return undefined;
  } catch (error) {
    assert.ok(error instanceof SrdsError, String(error));
    return error;
  } finally {
    writeFileSync(path, original);
  }
}

function assertRefused(error: SrdsError | undefined, file: string, codes: readonly string[]): void {
  assert.ok(error, `${file} was accepted`);
  assert.ok(codes.includes(error.code), `${file}: ${error.code}`);
  assert.doesNotMatch(error.message, /\n/);
  assert.match(error.message, new RegExp(file.startsWith('tokenizer') ? 'tokenizer' : file.replace('.', '\\.')));
}

test('the folder as it is opens', async () => {
  assert.equal(await openWith('model_index.json', readFileSync(join(folder, 'model_index.json'))), undefined);
});

for (const file of files.filter((name) => !OPTIONAL.includes(name))) {
  const whole = readFileSync(join(folder, file));
  test(`${file} missing, empty or truncated is refused by name`, async () => {
    assertRefused(await openWith(file, undefined), file, [
      file === 'model_index.json' ? 'MODEL_NOT_FOUND' : 'MODEL_INVALID',
    ]);
    assertRefused(await openWith(file, ''), file, ['MODEL_INVALID']);
    for (const share of [0.5, 0.97]) {
      assertRefused(await openWith(file, whole.subarray(0, Math.floor(share * whole.length))), file, ['MODEL_INVALID']);
    }
  });
}

test('files that are not needed may be missing', async () => {
  const others = OPTIONAL.slice(1).map((file) => [join(folder, file), readFileSync(join(folder, file))] as const);
  for (const [path] of others) rmSync(path);
  try {
    assert.equal(await openWith(OPTIONAL[0], undefined), undefined);
  } finally {
    for (const [path, content] of others) writeFileSync(path, content);
  }
});

const LFS_POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n';

test('contents that cannot be used are refused, each with its reason', async () => {
  const json = (file: string, change: object) =>
    JSON.stringify({ ...(JSON.parse(readFileSync(join(folder, file), 'utf8')) as object), ...change });
  const cases: [string, string, RegExp][] = [
    ['model_index.json', json('model_index.json', { _class_name: 'KolorsPipeline' }), /found KolorsPipeline;/],
    ['model_index.json', json('model_index.json', { _class_name: 'Flux2Pipeline' }), /Flux2Pipeline: Optimum does not/],
    [
      'model_index.json',
      json('model_index.json', { _class_name: 'StableDiffusionControlNetPipeline' }),
      /control nets/,
    ],
    ['model_index.json', json('model_index.json', { _class_name: 'ORTStableDiffusionInpaintPipeline' }), /a mask/],
    [
      'vae_decoder/config.json',
      json('vae_decoder/config.json', { latent_channels: 16 }),
      /4 latent channels.* found 16/,
    ],
    ['model_index.json', '[]', /model_index\.json/],
    ['model_index.json', LFS_POINTER, /JSON in .*found a Git LFS pointer/],
    ['unet/model.onnx', LFS_POINTER, /graph in .*found a Git LFS pointer/],
    ['scheduler/scheduler_config.json', '{"_class_name": "DDIMScheduler", "beta_start": "x"}', /beta_start/],
    ['scheduler/scheduler_config.json', '{"_class_name": 1}', /_class_name/],
    ['scheduler/scheduler_config.json', '{"_class_name": "FlowMatchEulerDiscreteScheduler"}', /FlowMatch.* DDIM/],
    ['scheduler/scheduler_config.json', 'null', /scheduler_config\.json/],
    ['unet/config.json', json('unet/config.json', { in_channels: 9 }), /4 latent channels/],
    ['unet/config.json', json('unet/config.json', { sample_size: 'big' }), /sample_size/],
    ['vae_decoder/config.json', json('vae_decoder/config.json', { scaling_factor: 0 }), /scaling_factor/],
    ['text_encoder/config.json', json('text_encoder/config.json', { vocab_size: 100 }), /the text encoder has 100/],
    ['tokenizer/vocab.json', '{"a": 1}', /not in the vocabulary/],
    ['tokenizer/vocab.json', '{"a": "b"}', /vocab\.json/],
    [
      'tokenizer/tokenizer_config.json',
      json('tokenizer/tokenizer_config.json', { pad_token: '<pad>' }),
      /no token <pad>/,
    ],
  ];
  for (const [file, content, message] of cases) {
    const error = await openWith(file, content);
    assert.match(error?.message ?? 'accepted', message);
    assert.equal(error?.code, 'MODEL_INVALID');
  }
});

test('a transformer whose configuration names another width of text states is refused', async () => {
  const copy = join(scratch, 'sd3');
  cpSync(fixture('models/sd3-no-t5'), copy, { recursive: true });
  const file = join(copy, 'transformer/config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...config, joint_attention_dim: 64 }));
  const message = /text states of width 64, .*transformer\/model\.onnx, found 40/;
  await assert.rejects(Pipeline.open(copy), { code: 'MODEL_INVALID', message });
});

test("a graph of another kind in a graph's place is refused", async () => {
  const vae = readFileSync(join(folder, 'vae_decoder/model.onnx'));
  const error = await openWith('unet/model.onnx', vae);
  assert.match(
    error?.message ?? 'accepted',
    /the inputs sample, timestep, encoder_hidden_states .* found latent_sample/,
  );
});

test('files that the system does not let be read are not called missing', async () => {
  for (const file of ['model_index.json', 'unet/model.onnx', 'unet/config.json']) {
    const path = join(folder, file);
    const original = readFileSync(path);
    rmSync(path);
    symlinkSync(path, path);
    const error = await Pipeline.open(folder).catch((thrown: unknown) => thrown);
    rmSync(path);
    writeFileSync(path, original);
    assert.match(String(error), /a file .* that can be read, found ELOOP: too many symbolic links/);
    assert.ok(String(error).includes(file));
  }
});
