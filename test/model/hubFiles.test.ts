import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { StringStringEntryProtoSchema, TensorProto_DataLocation } from 'onnx-buf';
import { readModelFolder } from 'srds/model';
import { modelSelections } from '../../src/model/hubFiles.js';
import { fixture } from '../support/fixtures.js';
import { changeModel } from '../support/onnx.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

const repository = { name: 'a/b', revision: 'main' };
let count = 0;

/** A copy of a fixture, and the paths of its files. */
function copyOf(model: string): { readonly folder: string; readonly paths: string[] } {
  const folder = join(scratch, String(count++));
  cpSync(fixture(`models/${model}`), folder, { recursive: true });
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return { folder, paths: entries.map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1)) };
}

/** What is selected of a folder that has all of its files. */
async function selected(folder: string, paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const select of modelSelections(repository)) found.push(...(await select(paths, folder)));
  return found.sort();
}

/** Moves a graph's weights to files, in turn. */
function externalize(path: string, names: readonly string[]): void {
  changeModel(path, path, ({ graph }) => {
    graph.initializer.forEach((tensor, k) => {
      tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
      tensor.externalData = [create(StringStringEntryProtoSchema, { key: 'location', value: names[k % names.length] })];
      tensor.rawData = new Uint8Array(0);
    });
  });
}

const EXTRAS = [
  'README.md',
  'unet/diffusion_pytorch_model.safetensors',
  'unet/diffusion_pytorch_model.bin',
  'unet/model_fp16.onnx',
  'unet/model_fp16.onnx_data',
  'text_encoder/flax_model.msgpack',
  'text_encoder_3/model.onnx',
  'safety_checker/model.onnx',
  'safety_checker/config.json',
  'feature_extractor/preprocessor_config.json',
  'unet/openvino_model.bin',
  'unet/nested/file.pb',
];

test('the parts of the family are selected and nothing else', async () => {
  for (const model of ['sd15', 'sdxl']) {
    const { folder, paths } = copyOf(model);
    const needed = paths.filter((path) => path !== 'scheduler_config.as_optimum_wrote_it.json').sort();
    const others = model === 'sd15' ? ['text_encoder_2/model.onnx', 'tokenizer_2/vocab.json'] : [];
    assert.deepEqual(await selected(folder, [...paths, ...EXTRAS, ...others]), needed);
  }
});

test('all files of vocabularies are selected, and a VAE encoder may be missing', async () => {
  const { folder, paths } = copyOf('sd15');
  const without = paths.filter((path) => !path.startsWith('vae_encoder/'));
  const more = ['tokenizer/tokenizer.json', 'tokenizer/added_tokens.json', 'tokenizer/spiece.model'];
  const found = await selected(folder, [...without, ...more, 'tokenizer/sub/vocab.json', 'tokenizer/x.png']);
  assert.deepEqual(found, [...without, ...more].sort());
});

test('a repository may have what a folder may: graphs of other names, and a transformer under unet/', async () => {
  const rename = (paths: readonly string[], change: (path: string) => string) => {
    const { folder } = copyOf('sd3');
    for (const path of paths) {
      mkdirSync(dirname(join(folder, change(path))), { recursive: true });
      renameSync(join(folder, path), join(folder, change(path)));
    }
    return { folder, changed: paths.map(change).sort() };
  };
  const { paths } = copyOf('sd3');
  for (const change of [
    (path: string) => path.replace('transformer/', 'unet/'),
    (path: string) => path.replace('model.onnx', 'model_fp16.onnx'),
    (path: string) => path.replace('vae_decoder/model.onnx', 'vae_decoder/decoder.onnx'),
    (path: string) => path.replace('transformer/model.onnx', 'transformer/mmdit.onnx'),
  ]) {
    const { folder, changed } = rename(paths, change);
    assert.deepEqual(await selected(folder, [...changed, 'README.md']), changed);
    await readModelFolder(folder);
  }
});

test('weights are selected by the names that a graph gives them', async () => {
  for (const names of [
    ['model.onnx_data'],
    ['model.onnx.data'],
    ['weights.pb', 'more/w.0', 'weights.bin'],
    ['w.safetensors'],
  ]) {
    const { folder, paths } = copyOf('sd15');
    externalize(join(folder, 'unet/model.onnx'), names);
    const files = names.map((name) => `unet/${name}`);
    assert.deepEqual(await selected(folder, [...paths, ...EXTRAS, ...files]), [...paths, ...files].sort());
    await assert.rejects(selected(folder, [...paths, ...files.slice(1)]), {
      code: 'MODEL_INVALID',
      message: new RegExp(`^expected unet/${names[0]}, weights of unet/model.onnx, in a/b@main, found `),
    });
  }
});

test('what is missing or not supported is said before anything large is downloaded', async () => {
  const { folder, paths } = copyOf('sd15');
  for (const file of [
    'unet/model.onnx',
    'unet/config.json',
    'vae_decoder/model.onnx',
    'scheduler/scheduler_config.json',
  ]) {
    const [, parts] = modelSelections(repository);
    await assert.rejects(
      async () =>
        parts(
          paths.filter((path) => path !== file),
          folder,
        ),
      {
        code: 'MODEL_INVALID',
        message: new RegExp(`^expected ${file} in a/b@main`),
      },
    );
  }
  writeFileSync(join(folder, 'model_index.json'), '{"_class_name": "SanaPipeline"}');
  await assert.rejects(selected(folder, paths), { code: 'MODEL_INVALID', message: /SanaPipeline/ });
});
