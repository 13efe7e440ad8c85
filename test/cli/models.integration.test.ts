import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, test } from 'node:test';
import sharp from 'sharp';
import { decodeNpy, encodeNpy } from 'srds/tensor';
import { failureIn, outputOf } from '../support/program.js';
import { assertSameImage, fixture, reference, relativeError } from '../support/fixtures.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));
let cwd = '';
beforeEach(() => (cwd = mkdtempSync(join(scratch, 'run-'))));
afterEach(() => rmSync(cwd, { recursive: true }));

/** Generates in this process. */
const generate = (...args: string[]) => outputOf({ cwd }, 'generate', ...args);

/** A fixture model with files that are changed, or taken away. */
function changed(model: string, files: Readonly<Record<string, string | object | undefined>>): string {
  const folder = join(cwd, 'model');
  cpSync(fixture(`models/${model}`), folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    if (content === undefined) rmSync(path, { recursive: true });
    else if (typeof content === 'string') writeFileSync(path, content);
    else writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), ...content }));
  }
  return folder;
}

test('generate takes a solver, a spacing, a prediction, an image and noise, and equals diffusers', async () => {
  const cases: [string, string[]][] = [
    ['init_heun', ['--solver', 'heun', '--strength', '0.5', '--init', 'init.png']],
    ['euler_trailing', ['--solver', 'euler', '--spacing', 'trailing', '--steps', '7']],
    ['ddim_eta', ['--solver', 'ddim', '--eta', '0.5', '--prediction', 'epsilon']],
    ['dpm2m', ['--solver', 'dpm2m', '--sampler', 'serial', '--low-memory']],
  ];
  for (const [name, args] of cases) {
    const expected = reference(`refs/solvers/${name}`);
    const { model, prompt, seed } = expected.metadata;
    if ('init' in expected.tensors) {
      const [height, width] = expected.shape('init');
      await sharp(expected.bytes('init'), { raw: { width, height, channels: 3 } })
        .png()
        .toFile(join(cwd, 'init.png'));
    }
    const common = ['--model', fixture(`models/${model}`), '--guidance', '7.5', '--seed', seed, '--tolerance', '0'];
    const outputs = ['--out', 'o.png', '--latents', 'o.npy', '--json'];
    const { stdout } = await generate(prompt, '--steps', '10', ...common, ...outputs, ...args);
    assert.ok(relativeError(decodeNpy(readFileSync(join(cwd, 'o.npy'))).data, expected.floats('latents')) < 1e-4);
    assertSameImage(await sharp(join(cwd, 'o.png')).raw().toBuffer(), expected.bytes('image_uint8'));
    const report = JSON.parse(stdout) as Record<string, unknown>;
    assert.equal(report.solver, args[1]);
    assert.equal(report.strength, name === 'init_heun' ? 0.5 : undefined);
    assert.equal(report.eta, name === 'ddim_eta' ? 0.5 : undefined);
    assert.equal(report.spacing, name === 'euler_trailing' ? 'trailing' : undefined);
  }
  const expected = reference('refs/sd15/ddim_leading_N10_p0_seed0');
  writeFileSync(join(cwd, 'noise.npy'), encodeNpy(expected.floats('latents_initial'), [1, 4, 8, 8]));
  const args = ['--model', fixture('models/sd15'), '--guidance', '7.5', '--steps', '10', '--tolerance', '0'];
  await generate(expected.metadata.prompt, ...args, '--noise', 'noise.npy', '--seed', '9', '--latents', 'n.npy');
  const last = expected.floats('latents_steps').slice(-256);
  assert.ok(relativeError(decodeNpy(readFileSync(join(cwd, 'n.npy'))).data, last) < 1e-4);
});

test('the PNG carries the solver in the names of web UIs', async () => {
  const args = ['--model', fixture('models/sdxl'), '--steps', '3', '--out', 'a.png', '--guidance-rescale', '0.5'];
  await generate('a red ball', ...args, '--solver', 'dpm2m', '--sampler', 'serial', '--spacing', 'trailing');
  const text = readFileSync(join(cwd, 'a.png')).toString('latin1');
  assert.match(text, /Steps: 3, Sampler: DPM\+\+ 2M, CFG scale: 5/);
  assert.match(text, /Guidance rescale: 0\.5, Spacing: trailing/);
  assert.doesNotMatch(text, /Negative prompt/);
});

test('inspect shows what a folder holds and how it will be run', async () => {
  const { stdout } = await outputOf({ cwd }, 'inspect', fixture('models/sdxl'), '--json');
  const report = JSON.parse(stdout) as {
    kind: string;
    timesteps: { kind: string };
    scheduler: { class: string; solver: string };
    graphs: { name: string; bytes: number; inputs: { name: string; type: string; dims: unknown[] }[] }[];
    memory: { weights: number; lowMemoryWeights: number };
  };
  assert.deepEqual([report.kind, report.timesteps.kind, report.scheduler.solver], ['sdxl', 'rewritten', 'euler']);
  assert.deepEqual(
    report.graphs.map(({ name, bytes }) => [name, bytes]),
    [
      ['text_encoder', 235447],
      ['text_encoder_2', 241321],
      ['unet', 841966],
      ['vae_decoder', 164348],
      ['vae_encoder', 121016],
    ],
  );
  assert.deepEqual(report.graphs[2].inputs, [
    { name: 'sample', type: 'float32', dims: ['batch_size', 4, 'height', 'width'] },
    { name: 'timestep', type: 'float32', dims: [] },
    { name: 'encoder_hidden_states', type: 'float32', dims: ['batch_size', 'sequence_length', 64] },
    { name: 'text_embeds', type: 'float32', dims: ['batch_size', 32] },
    { name: 'time_ids', type: 'float32', dims: ['batch_size', 6] },
  ]);
  assert.ok(report.memory.lowMemoryWeights < report.memory.weights);
  const prompts: [string, RegExp][] = [
    ['sdxl', /Stable Diffusion XL\n.*Prompt {6}CLIP, 77 tokens; CLIP, 77 tokens\n/s],
    ['sd3', /Prompt {6}CLIP, 77 .*; T5, 256 tokens, up to 512 with --max-sequence-length\n/],
    ['sd3-no-t5', /Stable Diffusion 3\n.*; no T5, zeros for its 256 tokens, up to 512 with --max-sequence-length\n/s],
  ];
  for (const [name, expected] of prompts) {
    assert.match((await outputOf({ cwd }, 'inspect', fixture(`models/${name}`))).stdout, expected);
  }
  const { stdout: json } = await outputOf({ cwd }, 'inspect', fixture('models/flux-schnell'), '--json');
  const flux = JSON.parse(json) as Record<string, unknown>;
  assert.deepEqual([flux.tokens, flux.maxSequenceLength], [[77, 256], 512]);
  const bundled = await outputOf({ cwd }, 'inspect');
  assert.match(bundled.stdout, /Model {7}scenes-128: Stable Diffusion\n/);
  assert.match(bundled.stdout, /Timesteps {3}one per row: /);
});

test('a folder that cannot be used is one line that says what was found and what would work', async () => {
  const cases: [string, Record<string, string | object | undefined>, number, RegExp][] = [
    [
      'sd15',
      { 'model_index.json': { _class_name: 'QwenImagePipeline' } },
      4,
      /StableDiffusionXLPipeline.*found QwenImagePipeline: Optimum does not export/,
    ],
    ['sdxl', { 'model_index.json': { requires_aesthetics_score: true } }, 4, /found an SDXL refiner/],
    [
      'sd15',
      { 'scheduler/scheduler_config.json': { _class_name: 'LCMScheduler' } },
      4,
      /LCMScheduler.*use a model with DDIM/,
    ],
    [
      'sd15',
      { 'model_index.json': { scheduler: ['diffusers', 'UniPCMultistepScheduler'] } },
      2,
      /UniPC.*--solver; ddim/,
    ],
    [
      'sdxl',
      { 'scheduler/scheduler_config.json': { use_exponential_sigmas: true } },
      4,
      /use_exponential_sigmas is not/,
    ],
    [
      'sd15',
      { 'scheduler/scheduler_config.json': { rescale_betas_zero_snr: true, timestep_spacing: 'trailing' } },
      2,
      /zero terminal SNR.*found epsilon.*solver euler/,
    ],
    ['sdxl', { 'text_encoder_2/model.onnx': undefined }, 4, /no text_encoder_2\/model\.onnx/],
    ['sdxl', { text_encoder_2: undefined }, 4, /no text_encoder_2\/model\.onnx/],
    ['sdxl', { 'tokenizer_2/vocab.json': undefined }, 4, /no tokenizer_2\/vocab\.json/],
    ['sdxl', { 'text_encoder_2/config.json': { vocab_size: 100 } }, 4, /tokenizer_2.*the text encoder has 100/],
    ['sdxl', { 'unet/config.json': { time_cond_proj_dim: 256 } }, 4, /time_cond_proj_dim.*guidance scale/],
    [
      'sdxl',
      { 'model_index.json': { _class_name: 'StableDiffusionPipeline' } },
      4,
      /the inputs sample, .*found .*time_ids/,
    ],
    ['sd15', { 'unet/model.onnx': 'no graph' }, 4, /unet\/model\.onnx/],
  ];
  for (const [model, files, code, message] of cases) {
    const folder = changed(model, files);
    const {
      message: found,
      code: ended,
      stdout,
    } = await failureIn({ cwd }, 'generate', 'a', '--model', folder, '--steps', '2');
    assert.match(found, message);
    assert.match(found, /^[^\n]+$/);
    assert.deepEqual([ended, stdout], [code, '']);
    if (code === 2) await generate('a', '--model', folder, '--steps', '2', '--solver', 'euler');
    rmSync(folder, { recursive: true });
  }
});

test('options that do not go together are one line that says what would', async () => {
  writeFileSync(join(cwd, 'text.png'), 'no image');
  writeFileSync(join(cwd, 'few.npy'), encodeNpy(new Float32Array(10), [10]));
  await sharp({ create: { width: 64, height: 64, channels: 4, background: '#ff000080' } })
    .webp()
    .toFile(join(cwd, 'ok.webp'));
  const cases: [string[], number, RegExp][] = [
    [['--init', 'text.png'], 2, /an image at text\.png, found .*give a PNG/],
    [['--init', 'nowhere.png'], 2, /an image at nowhere\.png, found ENOENT/],
    [['--init', '.'], 2, /an image at \., found a folder; give a PNG/],
    [['--strength', '0.5'], 2, /give one with --init/],
    [['--mask', 'ok.webp'], 2, /a mask with an initial image only, found none; give one with --init/],
    [['--init', 'ok.webp', '--mask', 'text.png'], 2, /an image at text\.png, found .*give a PNG/],
    [['--init', 'ok.webp', '--mask', 'nowhere.png'], 2, /an image at nowhere\.png, found ENOENT/],
    [['--init', 'ok.webp', '--strength', '2'], 2, /from 0 to 1 for --strength/],
    [['--init', 'ok.webp', '--strength', '0.01'], 2, /at least one step, found 0\.01 of 5 steps/],
    [['--noise', 'few.npy'], 2, /initial noise of shape \[1, 4, 8, 8\], found float32 of shape \[10\]/],
    [['--noise', 'text.png'], 2, /noise in text\.png, found no \.npy file/],
    [['--solver', 'pndm', '--sampler', 'srds'], 2, /pndm, a multistep solver; use ddim, .*serial/],
    [['--solver', 'magic'], 2, /Allowed choices are ddim, ddpm/],
    [['--eta', '0.5', '--solver', 'heun'], 2, /eta with the solver ddim only/],
    [['--guidance-rescale', '1.5'], 2, /guidance-rescale/],
    [['--prediction', 'sample', '--solver', 'pndm', '--sampler', 'serial'], 4, /prediction_type/],
  ];
  for (const [args, code, message] of cases) {
    const ended = await failureIn({ cwd }, 'generate', 'a', '--model', fixture('models/sd15'), '--steps', '5', ...args);
    assert.match(ended.message, message);
    assert.match(ended.message, /^[^\n]+$/);
    assert.equal(ended.code, code, ended.message);
  }
  await generate('a', '--model', fixture('models/sd15'), '--steps', '5', '--init', 'ok.webp', '--out', 'o.png');
  const without = changed('sd15', { vae_encoder: undefined });
  const none = await failureIn({ cwd }, 'generate', 'a', '--model', without, '--steps', '5', '--init', 'ok.webp');
  assert.match(none.message, /a VAE encoder .*no vae_encoder\/model\.onnx/);
  assert.equal(none.code, 4);
  assert.ok(existsSync(join(cwd, 'o.png')));
});

test('an initial image that is much larger than the images of the model is scaled, unless a size is given', async () => {
  await sharp({ create: { width: 1200, height: 900, channels: 3, background: '#a03020' } })
    .jpeg()
    .toFile(join(cwd, 'photo.jpg'));
  const args = ['a', '--model', fixture('models/sd15'), '--steps', '2', '--init', 'photo.jpg', '--out', 'scaled.png'];
  const { stderr } = await generate(...args);
  const { width, height } = await sharp(join(cwd, 'scaled.png')).metadata();
  assert.match(stderr, new RegExp(`^srds: warning: the initial image of 1200x900 is scaled to ${width}x${height}; `));
  assert.ok(width * height <= 4 * 64 * 64 && Math.abs(width / height - 4 / 3) < 0.2);
  assert.equal((await generate(...args, '--size', '96x96')).stderr, '');
  assert.equal((await sharp(join(cwd, 'scaled.png')).metadata()).width, 96);
});

test('--mask repaints the white part of --init', async () => {
  const expected = reference('refs/masks/wide');
  for (const name of ['init', 'mask']) {
    const [height, width, channels = 1] = expected.shape(name);
    await sharp(expected.bytes(name), { raw: { width, height, channels: channels as 1 | 3 } })
      .png()
      .toFile(join(cwd, `part-${name}.png`));
  }
  const given = JSON.parse(expected.metadata.arguments) as Record<string, number>;
  const files = ['--init', 'part-init.png', '--mask', 'part-mask.png', '--out', 'part.png', '--latents', 'part.npy'];
  const steps = ['--steps', String(given.num_inference_steps), '--guidance', String(given.guidance_scale)];
  const others = ['--strength', String(given.strength), '--seed', expected.metadata.seed, '--solver', 'euler'];
  const model = ['--model', fixture(`models/${expected.metadata.model}`), '--tolerance', '0'];
  await generate(expected.metadata.prompt, ...model, ...files, ...steps, ...others);
  const { data } = decodeNpy(readFileSync(join(cwd, 'part.npy')));
  assert.ok(relativeError(data, expected.floats('latents')) < 1e-4);
  const image = await sharp(join(cwd, 'part.png')).removeAlpha().raw().toBuffer();
  assertSameImage(image, expected.bytes('image_uint8'));
});

test('the name of the bundled model means it, unless a folder of that name exists', async () => {
  const args = ['a', '--model', 'scenes-128', '--sampler', 'serial', '--steps', '1', '--out', 'a.png', '--json'];
  const { stdout } = await generate(...args);
  assert.equal((JSON.parse(stdout) as { model: string }).model, 'scenes-128');
  mkdirSync(join(cwd, 'scenes-128'));
  const { code, message } = await failureIn({ cwd }, 'generate', ...args);
  assert.equal(code, 3);
  assert.match(message, /model_index\.json/);
});
