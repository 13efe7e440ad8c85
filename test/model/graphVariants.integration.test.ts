import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import {
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProto_DataType as Type,
  TensorProtoSchema,
  TensorShapeProto_DimensionSchema,
} from 'onnx-buf';
import { Pipeline } from 'srds';
import { DeviceEngine, type GraphFile, type OutputRow } from 'srds/engine';
import { readModelFolder } from 'srds/model';
import { Generator } from 'srds/random';
import { float32, int64, type Tensor } from 'srds/tensor';
import { settingsOf } from '../../src/pipeline/options.js';
import { graphFiles } from '../../src/model/modelFolder.js';
import { fixture, relativeError } from '../support/fixtures.js';
import {
  addInput,
  changeModel,
  fixAxis,
  makeUnwilling,
  optimizedForCuda,
  renameInputs,
  renameOutput,
  retypeInput,
  type WholeModel,
} from '../support/onnx.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

/** A copy of a fixture with one graph changed. */
function variant(graph: string, change: (model: WholeModel) => void, model = 'sd15'): string {
  const folder = mkdtempSync(join(scratch, 'model-'));
  cpSync(fixture(`models/${model}`), folder, { recursive: true });
  const file = join(folder, graph, 'model.onnx');
  changeModel(file, file, change);
  return folder;
}

const random = new Generator(1);
const randn = (...dims: number[]) => float32(random.randn(dims.reduce((a, b) => a * b)), dims);
/** Rows of inputs for each graph. */
const ROWS: Readonly<Record<string, readonly Readonly<Record<string, Tensor>>[]>> = {
  unet: [981, 1, 601, 401, 1].map((t) => ({
    sample: randn(4, 8, 8),
    timestep: float32(Float32Array.of(t), []),
    encoder_hidden_states: randn(77, 32),
    encoder_attention_mask: float32(new Float32Array(77).fill(1), [77]),
  })),
  text_encoder: [1, 2, 3].map((seed) => ({
    input_ids: int64([855, ...Array.from({ length: 76 }, (_, k) => (seed * k * k) % 800)], [77]),
    attention_mask: int64(Array<number>(77).fill(1), [77]),
    position_ids: int64([...Array(77).keys()], [77]),
  })),
  vae_decoder: [1, 2].map(() => ({ latent_sample: randn(4, 8, 8) })),
};

const both = (rows: number) => (model: WholeModel) => {
  for (const name of ['sample', 'encoder_hidden_states']) fixAxis(model, name, 0, rows);
};
const OTHER_NAMES = { sample: 'latent_model_input', timestep: 't', encoder_hidden_states: 'text_embeddings' };
const CASES: Readonly<Record<string, readonly [graph: string, change: (model: WholeModel) => void]>> = {
  'a UNet for batches of 2': ['unet', both(2)],
  'a UNet for batches of 3': ['unet', both(3)],
  'a UNet for batches of 8': ['unet', both(8)],
  'a UNet of fixed sides': ['unet', (model) => [2, 3].forEach((axis) => fixAxis(model, 'sample', axis, 8))],
  'a text encoder for one prompt': ['text_encoder', (model) => fixAxis(model, 'input_ids', 0, 1)],
  'a text encoder for batches of 4': ['text_encoder', (model) => fixAxis(model, 'input_ids', 0, 4)],
  'a decoder for one image': ['vae_decoder', (model) => fixAxis(model, 'latent_sample', 0, 1)],
  'int64 timesteps': ['unet', (model) => retypeInput(model, 'timestep', Type.INT64)],
  'int32 timesteps': ['unet', (model) => retypeInput(model, 'timestep', Type.INT32)],
  'double timesteps': ['unet', (model) => retypeInput(model, 'timestep', Type.DOUBLE)],
  'int32 token ids': ['text_encoder', (model) => retypeInput(model, 'input_ids', Type.INT32)],
  'float token ids': ['text_encoder', (model) => retypeInput(model, 'input_ids', Type.FLOAT)],
  'double latents': ['vae_decoder', (model) => retypeInput(model, 'latent_sample', Type.DOUBLE)],
  'other names': ['unet', (model) => renameInputs(model, OTHER_NAMES)],
  'another name of the latents': ['vae_decoder', (model) => renameInputs(model, { latent_sample: 'z' })],
  'the name of an output for the input': [
    'vae_decoder',
    (model) => {
      renameOutput(model, 'sample', 'latent_sample');
      renameInputs(model, { latent_sample: 'z' });
    },
  ],
  'other names in another order': [
    'unet',
    (model) => {
      renameInputs(model, OTHER_NAMES);
      model.graph.input.reverse();
    },
  ],
  'a mask of a text encoder': [
    'text_encoder',
    (model) => addInput(model, 'attention_mask', Type.INT64, ['batch', 'sequence']),
  ],
  'positions of token ids': [
    'text_encoder',
    (model) => addInput(model, 'position_ids', Type.INT64, ['batch', 'sequence']),
  ],
  'a mask of the text in a UNet': [
    'unet',
    (model) => addInput(model, 'encoder_attention_mask', Type.BOOL, ['batch', 'sequence']),
  ],
  'a timestep that is declared as a vector and takes the path of a scalar': [
    'unet',
    (model) => {
      addInput(model, 'vector', Type.FLOAT, ['free']);
      renameInputs(model, { timestep: 'gone', vector: 'timestep' });
      for (const node of model.graph.node) node.input = node.input.map((name) => (name === 'gone' ? 'timestep' : name));
      model.graph.input = model.graph.input.filter(({ name }) => name !== 'gone');
    },
  ],
};

/** The engine of all variants, each opened for its test. */
async function opened(): Promise<DeviceEngine> {
  const usual = graphFiles(await readModelFolder(fixture('models/sd15')));
  const files: Record<string, GraphFile> = { ...usual };
  for (const [name, [graph, change]] of Object.entries(CASES)) {
    const path = join(scratch, name, 'model.onnx');
    changeModel(usual[graph].path, path, change);
    files[name] = { ...usual[graph], path };
  }
  return DeviceEngine.open(files, { threads: 1, graphs: [] });
}
let engine: Promise<DeviceEngine> | undefined;
after(async () => (await engine)?.close());

/** The rows of a graph, in one batch of all and one by one. */
async function outputs(name: string, of: string): Promise<OutputRow[]> {
  const shared = await (engine ??= opened());
  await shared.load([name]);
  const info = shared.graphs.get(name);
  assert.ok(info);
  const taken = new Set(info.inputs.map((input) => input.name));
  const batch = ROWS[of].map((row) => ({
    graph: name,
    output: info.outputs[0].name,
    inputs: Object.fromEntries(Object.entries(row).filter(([input]) => taken.has(input))),
  }));
  const together = (await shared.run(batch)).outputs.flat();
  for (const [k, one] of batch.entries()) assert.deepEqual((await shared.run([one])).outputs[0], [together[k]]);
  await shared.unload([name]);
  return together;
}

for (const [name, [graph]] of Object.entries(CASES)) {
  test(`${graph} with ${name}: the same rows, ===, in one batch and one by one`, async () => {
    assert.deepEqual(await outputs(name, graph), await outputs(graph, graph));
  });
}

test('a fractional timestep is truncated for an integer input, as Optimum does', async () => {
  const shared = await (engine ??= opened());
  await shared.load(['int64 timesteps']);
  const run = async (t: number) => {
    const { sample, encoder_hidden_states } = ROWS.unet[0];
    const inputs = { sample, encoder_hidden_states, timestep: float32(Float32Array.of(t), []) };
    return (await shared.run([{ graph: 'int64 timesteps', output: 'out_sample', inputs }])).outputs;
  };
  assert.deepEqual(await run(601.9), await run(601));
  assert.notDeepEqual(await run(601.9), await run(602));
});

test('graphs of fixed sides generate that size and no other, whatever the initial image', async () => {
  const folder = variant('unet', (model) => fixAxis(model, 'sample', 2, 16));
  const model = await readModelFolder(folder);
  assert.deepEqual(model.size, { width: 64, height: 128 });
  const init = { width: 100, height: 100, data: new Uint8Array(30000) };
  const { width, height } = settingsOf({ prompt: '', init }, model);
  assert.deepEqual([width, height], [96, 128]);
  settingsOf({ prompt: '', width: 128, height: 128 }, model);
  assert.throws(() => settingsOf({ prompt: '', height: 64 }, model), {
    code: 'INVALID_OPTION',
    message: /a height of 128 pixels.* found 64; choose 64x128/,
  });
  const decoder = join(folder, 'vae_decoder/model.onnx');
  changeModel(decoder, decoder, (graph) => fixAxis(graph, 'latent_sample', 2, 8));
  await assert.rejects(readModelFolder(folder), {
    code: 'MODEL_INVALID',
    message: /a height in pixels of 128 .* found 64/,
  });
});

test('an encoder of fixed sides limits runs with an initial image alone', async () => {
  const model = await readModelFolder(variant('vae_encoder', (graph) => fixAxis(graph, 'sample', 3, 128)));
  const init = { width: 100, height: 100, data: new Uint8Array(30000) };
  assert.deepEqual(settingsOf({ prompt: '', width: 64 }, model).width, 64);
  assert.deepEqual(settingsOf({ prompt: '', init }, model).width, 128);
  assert.throws(() => settingsOf({ prompt: '', init, width: 64 }, model), {
    code: 'INVALID_OPTION',
    message: /128 pixels/,
  });
  const odd = await readModelFolder(variant('vae_encoder', (graph) => fixAxis(graph, 'sample', 3, 100)));
  assert.throws(() => settingsOf({ prompt: '', init }, odd), {
    code: 'MODEL_INVALID',
    message: /multiple of 8 .* found 100/,
  });
});

test('lengths that do not fit together are refused when the folder is read', async () => {
  const cases: [string, (model: WholeModel) => void, RegExp][] = [
    ['unet', (model) => fixAxis(model, 'sample', 1, 9), /4 latent channels .* found 9, as in inpainting models/],
    ['vae_decoder', (model) => fixAxis(model, 'latent_sample', 1, 16), /4 latent channels .* found 16/],
    ['text_encoder', (model) => fixAxis(model, 'input_ids', 1, 100), /100 tokens, .* found 77/],
    ['text_encoder', (model) => fixAxis(model, 'input_ids', 1, 2), /at least 3 tokens/],
    ['unet', (model) => fixAxis(model, 'encoder_hidden_states', 1, 64), /of 64 tokens, .* found text_encoder with 77/],
  ];
  for (const [graph, change, message] of cases) {
    await assert.rejects(readModelFolder(variant(graph, change)), { code: 'MODEL_INVALID', message });
  }
  const short = await readModelFolder(variant('text_encoder', (model) => fixAxis(model, 'input_ids', 1, 20)));
  assert.equal(short.textEncoders[0]?.tokenizer.maxLength, 20);
});

test('a number of tokens of T5 that the graphs fix is the default and the only one', async () => {
  const rows = (model: WholeModel) => fixAxis(model, 'encoder_hidden_states', 1, 12);
  const folder = variant('transformer', rows, 'flux-dev');
  const model = await readModelFolder(folder);
  assert.deepEqual(model.sequenceLength, { min: 12, default: 12, max: 12 });
  assert.throws(() => settingsOf({ prompt: '', maxSequenceLength: 256 }, model), {
    code: 'INVALID_OPTION',
    message: /12 tokens of T5 \(maxSequenceLength\), which the graphs of this model fix, found 256/,
  });
  const options = { prompt: 'a red ball', width: 16, height: 16, steps: 2 };
  const latents = async (path: string, others: object) => {
    const pipeline = await Pipeline.open(path);
    const { images } = await pipeline.generate({ ...options, ...others }).result;
    await pipeline.close();
    return images[0].latents;
  };
  assert.deepEqual(await latents(folder, {}), await latents(fixture('models/flux-dev'), { maxSequenceLength: 12 }));
  // SD3's text states are those of CLIP, then those of T5, which may be zeros.
  for (const name of ['sd3', 'sd3-no-t5']) {
    const fixed = variant('transformer', (graph) => fixAxis(graph, 'encoder_hidden_states', 1, 77 + 20), name);
    assert.equal((await readModelFolder(fixed)).sequenceLength?.default, 20);
  }
  const encoder = join(folder, 'text_encoder_2/model.onnx');
  changeModel(encoder, encoder, (graph) => fixAxis(graph, 'input_ids', 1, 256));
  await assert.rejects(readModelFolder(folder), {
    code: 'MODEL_INVALID',
    message: /a number of text tokens of 256 in .*transformer.*, as in .*text_encoder_2.*, found 12/,
  });
});

test('a number of tokens of an image that the graph fixes allows the sizes that have it', async () => {
  const folder = variant('transformer', (graph) => fixAxis(graph, 'hidden_states', 1, 16), 'flux-dev');
  const model = await readModelFolder(folder);
  assert.deepEqual(model.size, { width: 32, height: 32 });
  settingsOf({ prompt: '', width: 64, height: 16 }, model);
  assert.throws(() => settingsOf({ prompt: '', width: 64, height: 64 }, model), {
    code: 'INVALID_OPTION',
    message: /a size of 16 tokens of 8x8 pixels, .* found 64x64, which has 64; choose 32x32/,
  });
});

test('positions of tokens may have a batch axis, as in older exports of Flux', async () => {
  const folder = variant(
    'transformer',
    ({ graph }) => {
      graph.initializer.push(create(TensorProtoSchema, { name: 'first', dataType: Type.INT64, int64Data: [0n] }));
      for (const name of ['img_ids', 'txt_ids']) {
        const type = graph.input.find((input) => input.name === name)?.type?.value;
        assert.ok(type?.case === 'tensorType' && type.value.shape);
        const value = { case: 'dimParam', value: 'batch_size' } as const;
        type.value.shape.dim.unshift(create(TensorShapeProto_DimensionSchema, { value }));
        for (const node of graph.node)
          node.input = node.input.map((input) => (input === name ? `${name}_of_one` : input));
        const [input, output] = [[name, 'first'], [`${name}_of_one`]];
        graph.node.unshift(create(NodeProtoSchema, { opType: 'Gather', input, output }));
      }
    },
    'flux-dev',
  );
  const options = { prompt: 'a red ball', width: 16, height: 16, steps: 4, blocks: 2, maxSequenceLength: 9 };
  const latents = async (path: string) => {
    const pipeline = await Pipeline.open(path);
    const { images } = await pipeline.generate({ ...options, tolerance: 0 }).result;
    await pipeline.close();
    return images[0].latents;
  };
  assert.deepEqual(await latents(folder), await latents(fixture('models/flux-dev')));
});

test('inspection tells what fixed graphs and graphs for a GPU allow', async () => {
  const { described } = await readModelFolder(variant('unet', both(3)));
  assert.deepEqual(
    described.map(({ name, description }) => [name, description.maxRows]),
    [
      ['text_encoder', undefined],
      ['unet', 2],
      ['vae_decoder', undefined],
      ['vae_encoder', undefined],
    ],
  );
  const folder = variant('unet', optimizedForCuda);
  const model = await readModelFolder(folder);
  const unet = model.described.find(({ name }) => name === 'unet')?.description;
  assert.deepEqual(unet?.gpuOperators, ['NhwcConv']);
  assert.deepEqual(unet.rewrite, { status: 'rewritten', input: 'timestep' });
  await assert.rejects(Pipeline.open(model, { threads: 1 }), {
    code: 'MODEL_INVALID',
    message: /runs on cpu in .*unet.model\.onnx, found one that was optimized for CUDA \(NhwcConv\); use --device cuda/,
  });
});

test('operators without a kernel here are refused when the graph opens', async () => {
  const folder = variant('vae_decoder', ({ graph, opsetImport }) => {
    opsetImport.push(create(OperatorSetIdProtoSchema, { domain: 'trt.plugins', version: 1n }));
    Object.assign(graph.node.find(({ opType }) => opType === 'Conv') ?? {}, { domain: 'trt.plugins', opType: 'Fused' });
  });
  await assert.rejects(Pipeline.open(folder, { threads: 1 }), {
    code: 'MODEL_INVALID',
    message: /a graph that runs on cpu in .*vae_decoder/,
  });
});

test('a graph that fails on the inputs of its kind is the fault of the folder, in one line', async () => {
  const folder = variant('vae_decoder', ({ graph }) => {
    const conv = graph.node.find(({ opType }) => opType === 'Conv');
    graph.node.unshift(
      create(NodeProtoSchema, { opType: 'Reshape', input: ['latent_sample', 'fixed'], output: ['latents'] }),
    );
    if (conv) conv.input[0] = 'latents';
    const int64Data = [1n, 4n, 16n, 16n];
    graph.initializer.push(create(TensorProtoSchema, { name: 'fixed', dims: [4n], dataType: Type.INT64, int64Data }));
  });
  await assert.rejects(latents(folder), {
    code: 'MODEL_INVALID',
    message: /a graph that runs at this size in .*vae_decoder/,
  });
});

test('an operator that the optimizer made and that does not take the sizes is refused in one line', async () => {
  const folder = variant('vae_decoder', ({ graph, opsetImport }) => {
    opsetImport.push(create(OperatorSetIdProtoSchema, { domain: 'com.microsoft', version: 1n }));
    const conv = graph.node.find(({ opType }) => opType === 'Conv');
    graph.node.unshift(
      create(NodeProtoSchema, {
        domain: 'com.microsoft',
        opType: 'BiasGelu',
        input: ['latent_sample', 'bias'],
        output: ['latents'],
      }),
    );
    if (conv) conv.input[0] = 'latents';
    const floatData = [0, 0, 0, 0, 0];
    graph.initializer.push(create(TensorProtoSchema, { name: 'bias', dims: [5n], dataType: Type.FLOAT, floatData }));
  });
  await assert.rejects(latents(folder), {
    code: 'MODEL_INVALID',
    message:
      /a graph that runs on cpu in .*vae_decoder.*, found one that was optimized, whose BiasGelu fails: .*; use the export that was not/,
  });
});

/** The latents of two images at once, of the serial sampler and of SRDS until it is exact. */
async function latents(folder: string): Promise<{ serial: Float32Array[]; srds: Float32Array[] }> {
  const pipeline = await Pipeline.open(folder, { threads: 1 });
  try {
    const options = { prompt: 'a red ball', steps: 4, n: 2, tolerance: 0 };
    const [serial, srds] = [
      await pipeline.generate({ ...options, sampler: 'serial' }).result,
      await pipeline.generate({ ...options, sampler: 'srds' }).result,
    ];
    const of = ({ images }: typeof serial) => images.map((image) => image.latents);
    return { serial: of(serial), srds: of(srds) };
  } finally {
    await pipeline.close();
  }
}

test('batches of two rows, one image at a time and one prompt at a time: images are ===, by SRDS too', async () => {
  const folder = variant('unet', both(2));
  for (const [graph, input] of [
    ['text_encoder', 'input_ids'],
    ['vae_decoder', 'latent_sample'],
  ]) {
    const file = join(folder, graph, 'model.onnx');
    changeModel(file, file, (model) => fixAxis(model, input, 0, 1));
  }
  assert.deepEqual(await latents(folder), await latents(fixture('models/sd15')));
});

test('batches of one row: SRDS is === the serial sampler, and both are near those of larger batches', async () => {
  const { serial, srds } = await latents(variant('unet', both(1)));
  assert.deepEqual(srds, serial);
  const usual = await latents(fixture('models/sd15'));
  for (const [k, expected] of usual.serial.entries()) assert.ok(relativeError(serial[k], expected) < 1e-5);
});

test('one timestep a batch in batches of two rows: evaluations take turns', async () => {
  const { serial, srds } = await latents(
    variant('unet', (model) => {
      makeUnwilling(model);
      both(2)(model);
    }),
  );
  assert.deepEqual(srds, serial);
});

test('SDXL: inputs of other names are recognized by their axes', async () => {
  const names = { text_embeds: 'add_text', time_ids: 'add_time', encoder_hidden_states: 'context', timestep: 't' };
  const folder = variant(
    'unet',
    (model) => {
      renameInputs(model, names);
      model.graph.input.reverse();
    },
    'sdxl',
  );
  assert.deepEqual(await latents(folder), await latents(fixture('models/sdxl')));
});

test('graphs whose inputs do not fit are refused by name', async () => {
  const cases: [string, (model: WholeModel) => void, RegExp][] = [
    [
      'unet',
      (model) => {
        fixAxis(model, 'sample', 0, 2);
        fixAxis(model, 'encoder_hidden_states', 0, 1);
      },
      /batches of 2 and 1 rows: sample, encoder_hidden_states/,
    ],
    ['unet', (model) => addInput(model, 'timestep_cond', Type.FLOAT, ['batch', 'width']), /timestep_cond/],
    ['text_encoder', (model) => addInput(model, 'token_types', Type.INT64, ['batch', 'width']), /token_types/],
    ['vae_decoder', (model) => addInput(model, 'scale', Type.FLOAT, []), /scale/],
  ];
  for (const [graph, change, message] of cases) {
    await assert.rejects(Pipeline.open(variant(graph, change), { threads: 1 }), { code: 'MODEL_INVALID', message });
  }
});
