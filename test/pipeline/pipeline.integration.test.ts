import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Pipeline, type GenerateOptions } from 'srds';
import type { BatchReport } from 'srds/engine';
import type { OpenOptions } from 'srds/pipeline';
import type { SolverName } from 'srds/solver';
import { float32, meanAbsoluteDifference } from 'srds/tensor';
import {
  assertSameImage,
  fixture,
  reference,
  references,
  relativeError,
  schedulerClass,
  type Reference,
} from '../support/fixtures.js';
import { ownCache } from '../support/cache.js';
import { changeModel, makeUnwilling } from '../support/onnx.js';
import { sharedPipeline, withGraphsOf } from '../support/pipelines.js';

// Batches depend on what is known of the devices.
ownCache();

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

/** A copy of a fixture model with another timestep spacing. */
function withSpacing(model: string, spacing: string): string {
  const folder = join(scratch, `${model}-${spacing}`);
  cpSync(fixture(`models/${model}`), folder, { recursive: true });
  const file = join(folder, 'scheduler/scheduler_config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...config, timestep_spacing: spacing }));
  return folder;
}

async function image(pipeline: Pipeline, options: GenerateOptions) {
  const { images } = await pipeline.generate(options).result;
  return images[0];
}

function settingsOf({ metadata }: Reference): GenerateOptions {
  return {
    prompt: metadata.prompt,
    negativePrompt: metadata.negative_prompt === 'null' ? undefined : metadata.negative_prompt,
    solver: schedulerClass(metadata.scheduler) as SolverName,
    seed: BigInt(metadata.seed),
    steps: Number(metadata.num_inference_steps),
    guidance: Number(metadata.guidance_scale),
  };
}

for (const model of ['sd15', 'sd21v', 'sdxl']) {
  for (const spacing of ['leading', 'trailing', 'linspace']) {
    const cases = references(`refs/${model}`).filter((name) => name.startsWith(`ddim_${spacing}`));

    test(`${model}, ${spacing}: serial equals diffusers, prompt to image (${cases.length} references)`, async () => {
      const pipeline = await withGraphsOf(fixture(`models/${model}`), withSpacing(model, spacing));
      for (const name of cases) {
        const expected = reference(`refs/${model}/${name}`);
        const generated = await image(pipeline, { ...settingsOf(expected), sampler: 'serial' });
        const last = expected.floats('latents_steps').slice(-generated.latents.length);
        assert.ok(relativeError(generated.latents, last) < 1e-4, name);
        assertSameImage(generated.rgb!.data, expected.bytes('image_uint8'));
      }
    });
  }
}

test('sdxl uses its own scheduler by default, and equals diffusers', async () => {
  const pipeline = await sharedPipeline(fixture('models/sdxl'));
  const expected = reference('refs/sdxl/euler_published_N10_p0_seed0');
  const { solver, ...withoutSolver } = settingsOf(expected);
  assert.equal(solver, 'euler');
  const generated = await image(pipeline, { ...withoutSolver, sampler: 'serial' });
  assert.ok(relativeError(generated.latents, expected.floats('latents_steps').slice(-generated.latents.length)) < 1e-4);
  assertSameImage(generated.rgb!.data, expected.bytes('image_uint8'));
});

test('the bundled model: serial equals diffusers for any seed, size, guidance and negative prompt', async () => {
  const pipeline = await sharedPipeline();
  for (const name of references('refs/scenes')) {
    const expected = reference(`refs/scenes/${name}`);
    const settings = JSON.parse(expected.metadata.settings) as Record<string, number | string | null>;
    const generated = await image(pipeline, {
      sampler: 'serial',
      prompt: expected.metadata.prompt,
      negativePrompt: (settings.negative_prompt as string | null) ?? '',
      seed: BigInt(expected.metadata.seed),
      steps: Number(settings.num_inference_steps),
      guidance: Number(settings.guidance_scale),
      height: Number(settings.height),
      width: Number(settings.width),
    });
    const error = relativeError(generated.latents, expected.floats('latents'));
    assert.ok(error < 1e-4, `${name}: ${error}`);
    assertSameImage(generated.rgb!.data, expected.bytes('image_uint8'));
  }
});

test('a UNet with one timestep for the batch gives the same image, and the report says what that costs', async () => {
  const folder = join(scratch, 'shared');
  cpSync(fixture('models/sd15'), folder, { recursive: true });
  const unet = join(folder, 'unet/model.onnx');
  changeModel(unet, unet, makeUnwilling);
  const options: GenerateOptions = { prompt: 'a red ball', steps: 10, blocks: 5, tolerance: 0 };
  const generated = async (model: string) => {
    const warnings: string[] = [];
    const pipeline = await sharedPipeline(model);
    const run = pipeline.generate(options);
    for await (const event of run) if (event.type === 'warning') warnings.push(event.message);
    return { warnings, result: await run.result };
  };
  const [shared, stock] = [await generated(folder), await generated(fixture('models/sd15'))];
  assert.deepEqual(shared.result.images[0].latents, stock.result.images[0].latents);
  assert.deepEqual(stock.warnings, []);
  assert.equal(stock.result.timesteps?.kind, 'rewritten');
  assert.equal(shared.result.timesteps?.kind, 'shared');
  assert.match(shared.warnings.join(), /one timestep for a whole batch .*reaches Abs.*optimum-cli export onnx/);
  assert.ok(shared.result.batches > stock.result.batches);
});

test('at --low-memory the image is the same, and graphs are in memory one at a time', async () => {
  const options: GenerateOptions = { prompt: 'a red ball', steps: 5, n: 2 };
  const plain = await sharedPipeline(fixture('models/sdxl'));
  const expected = await plain.generate(options).result;
  const pipeline = await Pipeline.open(fixture('models/sdxl'), { lowMemory: true });
  try {
    assert.equal(pipeline.engine.graphs.size, 0);
    const seen = new Set<string>();
    const both = [pipeline.generate(options), pipeline.generate(options)];
    for await (const event of both[0]) {
      if (event.type === 'evaluation') seen.add([...pipeline.engine.graphs.keys()].join());
    }
    assert.deepEqual([...seen], ['unet,vae_decoder']);
    for (const run of both) {
      const { images } = await run.result;
      images.forEach(({ latents, rgb }, i) => {
        assert.deepEqual(latents, expected.images[i].latents);
        assert.deepEqual(rgb, expected.images[i].rgb);
      });
    }
  } finally {
    await pipeline.close();
  }
});

test('at --low-memory a run that is aborted at any moment leaves the next one as it should be', async () => {
  const pipeline = await Pipeline.open(fixture('models/sd15'), { lowMemory: true });
  try {
    const expected = await image(pipeline, { prompt: 'a red ball', steps: 3 });
    for (let ms = 0; ms < 200; ms += 40) {
      const given = pipeline.generate({ prompt: 'a', steps: 10, signal: AbortSignal.timeout(ms) }).result;
      const next = image(pipeline, { prompt: 'a red ball', steps: 3 });
      await given;
      assert.deepEqual((await next).latents, expected.latents, `aborted after ${ms} ms`);
    }
  } finally {
    await pipeline.close();
  }
});

test('an image to start from is brought to the size, and decides it if none is given', async () => {
  const pipeline = await sharedPipeline(fixture('models/sd15'));
  const init = { width: 70, height: 37, data: new Uint8Array(70 * 37 * 3).fill(200) };
  const generated = await image(pipeline, { prompt: 'a red ball', steps: 5, init });
  assert.deepEqual([generated.rgb!.width, generated.rgb!.height], [64, 32]);
  const other = await image(pipeline, { prompt: 'a red ball', steps: 5, init, width: 32, height: 64 });
  assert.deepEqual([other.rgb!.width, other.rgb!.height], [32, 64]);
  const faint = await image(pipeline, { prompt: 'a red ball', steps: 20, init, strength: 0.05, sampler: 'serial' });
  assert.equal(faint.evaluations.total, 1);
});

test('the bundled model: at tolerance 0 every form of SRDS is === serial', async () => {
  const pipeline = await sharedPipeline();
  const common = { prompt: 'a red ball', negativePrompt: 'night', steps: 4, n: 2, seed: 3 };
  const { images: expected } = await pipeline.generate({ ...common, sampler: 'serial' }).result;
  for (const form of [
    { correction: 'secant', blocks: [1, 2, 1] },
    { correction: 'parareal', pipelined: false },
  ] as const) {
    const { images } = await pipeline.generate({ ...common, tolerance: 0, ...form }).result;
    images.forEach(({ latents, status, rgb }, k) => {
      assert.equal(status, 'exact');
      assert.deepEqual(latents, expected[k].latents);
      assert.deepEqual(rgb, expected[k].rgb);
    });
  }
});

test('tiny models: at tolerance 0 SRDS is === serial for every correction, N and odd partitions', async () => {
  for (const [model, steps, blocks] of [
    ['sd15', 1, 1],
    ['sd15', 2, 2],
    ['sd15', 5, [1, 3, 1]],
    ['sd15', 25, 8],
    ['sd21v', 20, [7, 1, 1, 8, 3]],
    ['sdxl', 12, [4, 1, 5, 2]],
  ] as const) {
    const pipeline = await sharedPipeline(fixture(`models/${model}`));
    const common = { prompt: 'a red ball', steps, guidance: 7.5 };
    const serial = await image(pipeline, { ...common, sampler: 'serial' });
    for (const correction of ['parareal', 'secant'] as const) {
      for (const pipelined of model === 'sd15' ? [true, false] : [true]) {
        const generated = await image(pipeline, { ...common, blocks, correction, pipelined, tolerance: 0 });
        assert.deepEqual(generated.latents, serial.latents, `${model} ${steps} ${correction} ${pipelined}`);
        if (pipelined) assert.ok(generated.evaluations.critical <= steps);
      }
    }
  }
});

test('without guidance, where batches may be odd, SRDS is === serial, with noise too, and n changes nothing', async () => {
  for (const model of [fixture('models/sd15'), fixture('models/sd21v'), fixture('models/sdxl'), undefined]) {
    const pipeline = await sharedPipeline(model);
    for (const solver of model ? (['ddim', 'ddpm'] as const) : (['ddpm'] as const)) {
      const common = { prompt: 'a red ball', steps: model ? 8 : 3, guidance: 1, seed: 11, solver };
      const alone = await image(pipeline, { ...common, sampler: 'serial' });
      const { images } = await pipeline.generate({ ...common, sampler: 'serial', n: 3 }).result;
      assert.deepEqual(images[0].latents, alone.latents);
      for (const blocks of model ? [3, 6] : [2]) {
        const generated = await image(pipeline, { ...common, blocks, tolerance: 0 });
        assert.deepEqual(generated.latents, alone.latents, `${model} ${solver} ${blocks}`);
      }
    }
  }
});

test('images of one call share batches, stop one by one and are those of calls of their own', async () => {
  const batches: BatchReport[] = [];
  const reporting = await Pipeline.open(fixture('models/sd15'), { onBatch: (report) => batches.push(report) });
  try {
    await reporting.generate({ prompt: 'a red ball', steps: 3, n: 4, sampler: 'serial' }).result;
  } finally {
    await reporting.close();
  }
  const unet = batches.filter(({ graph }) => graph === 'unet');
  assert.deepEqual(
    unet.map(({ evaluations, rows }) => [evaluations, rows]),
    Array(3).fill([4, 8]),
  );
  const pipeline = await sharedPipeline(fixture('models/sd21v'));
  const common = { prompt: 'a red ball', steps: 16, tolerance: 1 };
  const { images } = await pipeline.generate({ ...common, n: 3, seed: 10 }).result;
  assert.deepEqual(
    images.map(({ seed }) => seed),
    [10n, 11n, 12n],
  );
  for (const generated of images) {
    const alone = await image(pipeline, { ...common, seed: generated.seed });
    assert.deepEqual([generated.latents, generated.iterations], [alone.latents, alone.iterations]);
  }
});

test('warming up uses every graph that an image needs where batches have buckets, and none elsewhere', async () => {
  const graphsUsed = async (options: OpenOptions): Promise<Set<string>> => {
    const batches: BatchReport[] = [];
    const pipeline = await Pipeline.open(fixture('models/sd15'), { ...options, onBatch: (one) => batches.push(one) });
    try {
      await pipeline.warmUp();
    } finally {
      await pipeline.close();
    }
    return new Set(batches.map(({ graph }) => graph));
  };
  assert.deepEqual(await graphsUsed({ buckets: [2] }), new Set(['text_encoder', 'unet', 'vae_decoder']));
  assert.deepEqual(await graphsUsed({}), new Set());
  assert.deepEqual(await graphsUsed({ buckets: [2], lowMemory: true }), new Set());
});

test('events carry the image of every iteration, residuals are its changes by that rule, and compare measures the error', async () => {
  const pipeline = await sharedPipeline(fixture('models/sd21v'));
  const run = pipeline.generate({ prompt: 'a red ball', steps: 25, guidance: 7.5, compare: true, stopping: 'change' });
  const previews: Uint8Array[] = [];
  const residuals: number[] = [];
  for await (const event of run) {
    if (event.type !== 'iteration') continue;
    previews.push(event.preview!.data);
    if (event.residual !== undefined) residuals.push(event.residual);
  }
  const { images, seconds } = await run.result;
  assert.deepEqual(images[0].residuals, residuals);
  residuals.forEach((residual, k) => assert.equal(residual, meanAbsoluteDifference(previews[k + 1], previews[k])));
  assert.deepEqual(images[0].rgb!.data, previews.at(-1));
  const serial = await image(pipeline, { prompt: 'a red ball', steps: 25, guidance: 7.5, sampler: 'serial' });
  assert.equal(images[0].error!.mean, meanAbsoluteDifference(serial.rgb!.data, images[0].rgb!.data));
  assert.ok(seconds.load > 0 && seconds.sample > 0);
});

test('an aborted run says so and leaves the pipeline usable', async () => {
  const pipeline = await sharedPipeline(fixture('models/sd15'));
  const controller = new AbortController();
  const run = pipeline.generate({ prompt: 'a red ball', steps: 100, signal: controller.signal });
  for await (const event of run) if (event.type === 'evaluation') controller.abort();
  assert.equal((await run.result).images[0].status, 'aborted');
  assert.equal((await image(pipeline, { prompt: 'a red ball', steps: 1 })).status, 'exact');
});

test('aborted at any moment, a run ends with a result', async () => {
  const pipeline = await sharedPipeline(fixture('models/sd15'));
  for (let ms = 0; ms < 120; ms += 5) {
    const signal = AbortSignal.timeout(ms);
    const { images } = await pipeline.generate({ prompt: 'a', steps: 10, n: 2, compare: true, signal }).result;
    assert.equal(images.length, 2);
    for (const { status, error, rgb } of images) {
      if (status === 'aborted') assert.equal(error, undefined);
      else assert.ok(rgb);
    }
  }
});

test('latents that are not finite are an error, not a black image', async () => {
  const pipeline = await sharedPipeline(fixture('models/sd15'));
  const run = pipeline.generate({ prompt: 'a', steps: 5, guidance: 1e39 });
  await assert.rejects(run.result, { code: 'MODEL_INVALID', message: /latents that are finite/ });
});

test('two runs at once on one pipeline do not disturb each other', async () => {
  const pipeline = await sharedPipeline(fixture('models/sd15'));
  const generate = (prompt: string) => image(pipeline, { prompt, steps: 10 });
  const together = await Promise.all([generate('a red ball'), generate('a small blue metal cube on sand at night')]);
  const apart = [await generate('a red ball'), await generate('a small blue metal cube on sand at night')];
  assert.deepEqual(
    together.map(({ latents }) => latents),
    apart.map(({ latents }) => latents),
  );
});

test('options that cannot be used are refused at once', async () => {
  const pipeline = await sharedPipeline(fixture('models/sd15'));
  const init = { width: 64, height: 64, data: new Uint8Array(64 * 64 * 3) };
  const bad: Partial<GenerateOptions>[] = [
    { steps: 0 },
    { steps: 1.5 },
    { steps: 1001 },
    { blocks: 26 },
    { sampler: 'ddim' as 'serial' },
    { correction: 'none' as 'secant' },
    { prompt: undefined as unknown as string },
    { blocks: [1, 2] },
    { n: 0 },
    { n: 1.5 },
    { width: 65 },
    { height: 0 },
    { width: Infinity },
    { tolerance: -1 },
    { tolerance: NaN },
    { maxIterations: 0 },
    { guidance: -1 },
    { seed: 0.5 },
    { solver: 'unipc' as 'ddim' },
    { solver: 'dpm2m' },
    { solver: 'euler', eta: 0.5 },
    { eta: 1.5 },
    { spacing: 'even' as 'leading' },
    { prediction: 'noise' as 'epsilon' },
    { guidanceRescale: -0.1 },
    { strength: 0.5 },
    { init, strength: 0 },
    { init, strength: 1.1 },
    { init, strength: 0.01, steps: 10 },
    { init: { width: 8, height: 8, data: new Uint8Array(192) } },
    { init: { ...init, data: new Uint8Array(5) } },
    { mask: init },
    { init, mask: { ...init, data: new Uint8Array(5) } },
    { init, mask: { width: 0, height: 0, data: new Uint8Array(0) } },
    { noise: float32(new Float32Array(256).fill(NaN), [1, 4, 8, 8]) },
    { noise: float32(new Float32Array(256), [1, 8, 8, 4]) },
  ];
  for (const options of bad) {
    assert.throws(
      () => pipeline.generate({ prompt: 'a', ...options }),
      { code: 'INVALID_OPTION' },
      JSON.stringify(options),
    );
  }
});
