import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { z } from 'zod';
import { fixture } from '../support/fixtures.js';
import { outputOf } from '../support/program.js';
import { pythonScript } from '../support/venv.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

const tensor = z.object({
  name: z.string(),
  data_type: z.string(),
  dims: z.array(z.string()),
  reshape: z.object({}).optional(),
});
/** What the tests read of a configuration. Numbers of 64 bits are text in the JSON of protocol buffers. */
const config = z.object({
  name: z.string(),
  backend: z.string(),
  max_batch_size: z.int(),
  input: z.array(tensor),
  output: z.array(tensor),
  dynamic_batching: z.object({ priority_levels: z.string(), default_priority_level: z.string() }),
  // Its default kind, KIND_AUTO, is left out.
  instance_group: z.array(z.strictObject({ count: z.literal(1) })).length(1),
  parameters: z.record(z.string(), z.object({ string_value: z.string() })),
  optimization: z
    .object({
      execution_accelerators: z.object({
        gpu_execution_accelerator: z
          .array(z.object({ name: z.literal('tensorrt'), parameters: z.record(z.string(), z.string()) }))
          .length(1),
      }),
    })
    .optional(),
  model_warmup: z.array(
    z.object({
      batch_size: z.int(),
      inputs: z.record(z.string(), z.object({ data_type: z.string(), dims: z.array(z.string()) })),
    }),
  ),
});

/** The configuration of an export, by Triton's schema. @param change of its text */
async function configOf(model: string, flags: readonly string[], change = (text: string) => text) {
  const repository = mkdtempSync(join(scratch, 'repository-'));
  await outputOf({}, 'export-triton', fixture(`models/${model}`), repository, '--name', 'net', '--force', ...flags);
  const path = join(repository, 'net/config.pbtxt');
  writeFileSync(path, change(readFileSync(path, 'utf8')));
  return config.parse(await pythonScript('triton-requirements.txt', 'read_model_config.py', [path]));
}

test("the configuration of a UNet is valid by Triton's schema, with a warm-up for each size of batches", async () => {
  const read = await configOf('sd15', ['--batches', '8,2']);
  assert.deepEqual([read.name, read.backend, read.max_batch_size], ['net', 'onnxruntime', 8]);
  assert.deepEqual(read.input, [
    { name: 'sample', data_type: 'TYPE_FP32', dims: ['4', '-1', '-1'] },
    { name: 'timestep', data_type: 'TYPE_FP32', dims: ['1'], reshape: {} },
    { name: 'encoder_hidden_states', data_type: 'TYPE_FP32', dims: ['-1', '32'] },
  ]);
  assert.deepEqual(read.output, [{ name: 'out_sample', data_type: 'TYPE_FP32', dims: ['4', '-1', '-1'] }]);
  assert.deepEqual(read.dynamic_batching, { priority_levels: '8', default_priority_level: '8' });
  assert.equal(read.parameters.srds_precision.string_value, 'float32');
  assert.equal(read.optimization, undefined);
  assert.deepEqual(
    read.model_warmup.map(({ batch_size }) => batch_size),
    [2, 8],
  );
  for (const { inputs } of read.model_warmup) {
    assert.deepEqual(inputs.sample, { data_type: 'TYPE_FP32', dims: ['4', '8', '8'] });
    assert.deepEqual(inputs.timestep.dims, ['1']);
    assert.deepEqual(inputs.encoder_hidden_states.dims, ['77', '32']);
  }
});

test('the block for TensorRT is valid once it is no comment, and has the shapes of all batches', async () => {
  const read = await configOf('sdxl', ['--batches', '1,4,16'], (text) => text.replaceAll('#! ', ''));
  const [{ parameters }] = read.optimization!.execution_accelerators.gpu_execution_accelerator;
  const profile = (rows: number) =>
    `sample:${rows}x4x16x16,timestep:${rows},encoder_hidden_states:${rows}x77x64,text_embeds:${rows}x32,time_ids:${rows}x6`;
  assert.equal(parameters.trt_profile_min_shapes, profile(1));
  assert.equal(parameters.trt_profile_opt_shapes, profile(4));
  assert.equal(parameters.trt_profile_max_shapes, profile(16));
  assert.equal(parameters.precision_mode, 'FP16');
});

test("the positions of Flux's tokens have a batch axis", async () => {
  const read = await configOf('flux-dev', ['--backend', 'python', '--batches', '1,2']);
  assert.equal(read.backend, 'python');
  assert.equal(read.parameters.batch_sizes.string_value, '1,2');
  for (const name of ['img_ids', 'txt_ids']) {
    const input = read.input.find((one) => one.name === name);
    assert.deepEqual(input, { name, data_type: 'TYPE_INT64', dims: ['-1', '3'] });
  }
  const { img_ids, hidden_states, encoder_hidden_states, txt_ids, guidance } = read.model_warmup[1].inputs;
  assert.equal(img_ids.dims[0], hidden_states.dims[0]);
  assert.equal(txt_ids.dims[0], encoder_hidden_states.dims[0]);
  assert.deepEqual(guidance.dims, ['1']);
});
