import assert from 'node:assert/strict';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  NodeProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorProtoSchema,
} from 'onnx-buf';
import { Pipeline } from 'srds';
import { inspectModel, readModelFolder } from 'srds/model';
import { Batcher } from '../../src/engine/batcher.js';
import { DeviceEngine } from '../../src/engine/deviceEngine.js';
import { encodePrompt } from '../../src/model/encodePrompt.js';
import { graphFiles } from '../../src/model/modelFolder.js';
import { Networks } from '../../src/model/networks.js';
import { fixture } from '../support/fixtures.js';
import { addInput, changeModel, makeBfloat16, type WholeModel } from '../support/onnx.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

/** A copy of a fixture. */
function copy(): string {
  const folder = mkdtempSync(join(scratch, 'model-'));
  cpSync(fixture('models/sd15'), folder, { recursive: true });
  return folder;
}

function change(folder: string, graph: string, how: (model: WholeModel) => void): void {
  const file = join(folder, graph, 'model.onnx');
  changeModel(file, file, how);
}

async function image(folder: string): Promise<Uint8Array> {
  const pipeline = await Pipeline.open(folder, { threads: 1 });
  try {
    const { images } = await pipeline.generate({ prompt: 'a red ball', steps: 2, sampler: 'serial' }).result;
    return images[0].rgb!.data;
  } finally {
    await pipeline.close();
  }
}

const usual = image(fixture('models/sd15'));

/** Moves the weights of a UNet to files, in turns. */
function scatter(folder: string, names: readonly string[]): void {
  change(folder, 'unet', ({ graph }) => {
    const large = graph.initializer.filter(({ rawData }) => rawData.byteLength > 64);
    for (const [k, tensor] of large.entries()) {
      const location = names[k % names.length];
      const path = join(folder, 'unet', location);
      mkdirSync(dirname(path), { recursive: true });
      const offset = existsSync(path) ? statSync(path).size : 0;
      appendFileSync(path, tensor.rawData);
      const entries = Object.entries({ location, offset, length: tensor.rawData.byteLength });
      tensor.externalData = entries.map(([key, value]) =>
        create(StringStringEntryProtoSchema, { key, value: String(value) }),
      );
      tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
      tensor.rawData = new Uint8Array(0);
    }
  });
}

/** Moves a file to another folder and leaves a link. */
function link(file: string): void {
  const target = join(mkdtempSync(join(scratch, 'blobs-')), 'blob');
  renameSync(file, target);
  symlinkSync(target, file);
}

test('weights in several files, in folders below and behind links into several folders: the same image, ===', async () => {
  const folder = copy();
  scatter(folder, ['weights.pb', 'model.onnx.data', 'a/model.onnx_data', 'a/b/data']);
  link(join(folder, 'unet/model.onnx'));
  link(join(folder, 'unet/a/model.onnx_data'));
  assert.deepEqual(await image(folder), await usual);
});

test('weights beside the target of a linked graph are found', async () => {
  const folder = copy();
  scatter(folder, ['model.onnx_data']);
  const blobs = mkdtempSync(join(scratch, 'blobs-'));
  for (const name of ['model.onnx', 'model.onnx_data']) renameSync(join(folder, 'unet', name), join(blobs, name));
  symlinkSync(join(blobs, 'model.onnx'), join(folder, 'unet/model.onnx'));
  assert.deepEqual(await image(folder), await usual);
});

test('bfloat16 graphs give the image of float32 graphs with the same weights, ===', async () => {
  const [wide, narrow] = [copy(), copy()];
  for (const graph of ['text_encoder', 'unet', 'vae_decoder']) {
    change(wide, graph, (model) => makeBfloat16(model, 'weights'));
    change(narrow, graph, (model) => makeBfloat16(model, 'all'));
  }
  const expected = await image(wide);
  assert.notDeepEqual(expected, await usual);
  assert.deepEqual(await image(narrow), expected);
});

test('graphs of other file names are found', async () => {
  const folder = copy();
  renameSync(join(folder, 'unet/model.onnx'), join(folder, 'unet/model_fp16.onnx'));
  renameSync(join(folder, 'vae_decoder/model.onnx'), join(folder, 'vae_decoder/decoder.onnx'));
  const { graphs, half } = await readModelFolder(folder);
  assert.deepEqual(
    [graphs.unet, graphs.vae_decoder].map((path) => basename(path ?? '')),
    ['model_fp16.onnx', 'decoder.onnx'],
  );
  assert.equal(half, undefined);
});

test('a transformer in the folder unet is found by the class in its configuration', async () => {
  const folder = mkdtempSync(join(scratch, 'model-'));
  cpSync(fixture('models/sd3'), folder, { recursive: true });
  renameSync(join(folder, 'transformer'), join(folder, 'unet'));
  assert.deepEqual(await image(folder), await image(fixture('models/sd3')));
});

test('a folder of 20 GB is described without reading its weights', async () => {
  const folder = copy();
  change(folder, 'unet', ({ graph }) => {
    for (let k = 0; k < 10; k++) {
      const entries = Object.entries({ location: 'model.onnx_data', offset: k * 2 ** 31, length: 2 ** 31 });
      const externalData = entries.map(([key, value]) =>
        create(StringStringEntryProtoSchema, { key, value: String(value) }),
      );
      const dataLocation = TensorProto_DataLocation.EXTERNAL;
      graph.initializer.push(
        create(TensorProtoSchema, { name: `w${k}`, dims: [2n ** 29n], dataType: 1, dataLocation, externalData }),
      );
    }
  });
  const data = join(folder, 'unet/model.onnx_data');
  writeFileSync(data, '');
  truncateSync(data, 10 * 2 ** 31);
  const before = process.memoryUsage().rss;
  const { graphs } = inspectModel(await readModelFolder(folder));
  assert.ok(graphs.find(({ name }) => name === 'unet')!.bytes > 20e9);
  assert.ok(process.memoryUsage().rss - before < 500e6);
  truncateSync(data, 10 * 2 ** 31 - 1);
  await assert.rejects(readModelFolder(folder), {
    code: 'MODEL_INVALID',
    message: /has 21474836479 bytes, and the graph needs/,
  });
});

test('one file above 2 GB cannot be a graph', async () => {
  const folder = copy();
  truncateSync(join(folder, 'unet/model.onnx'), 2 ** 31);
  await assert.rejects(readModelFolder(folder), {
    code: 'MODEL_INVALID',
    message: /unet.model\.onnx, found a file above 2 GB/,
  });
});

test('a text encoder ignores padding only where its configuration says so', async () => {
  const folder = copy();
  // The hidden state, times the mask.
  change(folder, 'text_encoder', (model) => {
    const { graph } = model;
    addInput(model, 'attention_mask', 7, ['batch', 'sequence']);
    const axes = { name: 'last', dims: [1n], dataType: 7, int64Data: [-1n] };
    graph.initializer.push(create(TensorProtoSchema, axes));
    for (const node of graph.node)
      node.output = node.output.map((name) => (name === 'last_hidden_state' ? 'whole' : name));
    for (const node of graph.node)
      node.input = node.input.map((name) => (name === 'last_hidden_state' ? 'whole' : name));
    const to = [{ name: 'to', type: AttributeProto_AttributeType.INT, i: 1n }];
    graph.node.push(
      create(NodeProtoSchema, { opType: 'Cast', input: ['attention_mask'], output: ['m'], attribute: to }),
      create(NodeProtoSchema, { opType: 'Unsqueeze', input: ['m', 'last'], output: ['column'] }),
      create(NodeProtoSchema, { opType: 'Mul', input: ['whole', 'column'], output: ['last_hidden_state'] }),
    );
  });
  const config = join(folder, 'text_encoder/config.json');
  const content = JSON.parse(readFileSync(config, 'utf8')) as object;
  const hidden = async (value: boolean | null) => {
    writeFileSync(config, JSON.stringify({ ...content, use_attention_mask: value }));
    const model = await readModelFolder(folder);
    const engine = await DeviceEngine.open(graphFiles(model), { graphs: ['text_encoder'], threads: 1 });
    try {
      const networks = new Networks(model, engine, new Batcher(engine));
      const prompt = { name: 'prompt', text: 'a red ball' };
      return (await encodePrompt(model, networks, prompt, { size: model.size, guidance: 1 }, () => undefined))
        .encoder_hidden_states;
    } finally {
      await engine.close();
    }
  };
  const all = await hidden(null);
  const masked = await hidden(true);
  const { mask } = (await readModelFolder(folder)).textEncoders[0]!.tokenizer.encode('a red ball', 77);
  const length = mask.filter((one) => one === 1).length;
  const width = all.dims[1];
  const expected = (all.data as Float32Array).map((value, k) => value * (k < length * width ? 1 : 0));
  assert.ok(length < all.dims[0]);
  assert.deepEqual(masked.data, expected);
  assert.ok((all.data as Float32Array).every((value) => value !== 0));
});

test('folders of other formats are refused by name, with what to do', async () => {
  const cases: [files: readonly string[], code: string, message: RegExp][] = [
    [
      ['model_index.json', 'unet/diffusion_pytorch_model.safetensors'],
      'MODEL_INVALID',
      /PyTorch weights.*optimum-cli export onnx/,
    ],
    [
      ['model_index.json', 'transformer/diffusion_pytorch_model-00001-of-00002.safetensors'],
      'MODEL_INVALID',
      /PyTorch weights/,
    ],
    [['v1-5-pruned.safetensors'], 'MODEL_INVALID', /a checkpoint in a single file.*from_single_file/],
    [['flux1-dev-Q4_0.gguf'], 'MODEL_INVALID', /GGUF/],
    [['model_index.json', 'unet/openvino_model.xml', 'unet/openvino_model.bin'], 'MODEL_INVALID', /OpenVINO/],
    [['model_index.json', 'transformer.opt/model.onnx'], 'MODEL_INVALID', /TensorRT/],
    [['unet_fp16.plan'], 'MODEL_INVALID', /TensorRT/],
    [['pytorch_lora_weights.safetensors'], 'MODEL_INVALID', /a LoRA.*fuse_lora/],
    [['onnx/model_index.json', 'README.md'], 'MODEL_NOT_FOUND', /try --model .*onnx/],
    [['README.md'], 'MODEL_NOT_FOUND', /no model_index\.json/],
  ];
  for (const [names, code, message] of cases) {
    const folder = mkdtempSync(join(scratch, 'other-'));
    for (const name of names) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), '{}');
    }
    await assert.rejects(readModelFolder(folder), { code, message });
  }
  const folder = copy();
  await assert.rejects(readModelFolder(join(folder, 'unet')), {
    code: 'MODEL_NOT_FOUND',
    message: new RegExp(`try --model ${folder}`),
  });
  const file = join(folder, 'a.ckpt');
  writeFileSync(file, 'x');
  await assert.rejects(readModelFolder(file), { code: 'MODEL_INVALID', message: /a checkpoint in a single file/ });
});
