import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GenerateOptions } from 'srds';
import { Batcher } from 'srds/engine';
import { drive } from 'srds/run';
import { encodePrompt, networkDenoiser, Networks } from 'srds/model';
import { serial, srds, type Correction } from 'srds/sampler';
import { stepsOf } from 'srds/schedule';
import { euler, toFlow } from 'srds/solver';
import { float32, int64, type Tensor } from 'srds/tensor';
import { assertSameImage, fixture, reference, references, relativeError } from '../support/fixtures.js';
import { forClip, optionsOf } from '../support/flow.js';
import { assertSerial, sharedPipeline } from '../support/pipelines.js';

const MODELS = ['sd3', 'sd3-no-t5', 'flux-dev', 'flux-schnell'];

const ignore = () => undefined;

for (const model of MODELS) {
  const folder = fixture(`models/${model}`);
  const cases = references(`refs/${model}`).filter((name) => /^(flow|img2img)_/.test(name));

  test(`${model}: serial equals diffusers, text or image to image (${cases.length} references)`, async () => {
    const pipeline = await sharedPipeline(folder);
    for (const name of cases) {
      const expected = reference(`refs/${model}/${name}`);
      const { images } = await pipeline.generate({ ...optionsOf(expected), sampler: 'serial' }).result;
      const [image] = images;
      const error = relativeError(image.latents, expected.floats('latents_final'));
      assert.ok(error < 1e-4, `${name}: ${error}`);
      assertSameImage(image.rgb!.data, expected.bytes('image_uint8'));
      assert.equal(image.evaluations.total, Number(expected.metadata.steps_run));
    }
  });

  test(`${model}: tokens and embeddings equal diffusers'`, async () => {
    const { engine, model: opened } = await sharedPipeline(folder);
    const networks = new Networks(opened, engine, new Batcher(engine));
    const expected = reference(`refs/${model}/embeddings`);
    const prompts = JSON.parse(expected.metadata.prompts) as string[];
    for (const key of JSON.parse(expected.metadata.keys) as string[]) {
      const [prompt, sequenceLength] = key.split('.').map(Number);
      const text = prompts[prompt];
      const others = opened.family.textEncoders.map(({ kind }) => (kind === 't5' ? text : forClip(text)));
      opened.textEncoders.forEach((encoder, k) => {
        if (!encoder) return;
        const ids = expected.numbers(`${key}.input_ids.${opened.family.textEncoders[k].tokenizer}`);
        assert.deepEqual(encoder.tokenizer.encode(others[k], sequenceLength).ids, ids, key);
      });
      const conditioning = await encodePrompt(
        opened,
        networks,
        { name: 'prompt', text: others[0], others: others.slice(1) },
        { size: opened.size, sequenceLength, guidance: 1 },
        ignore,
      );
      const { encoder_hidden_states: states, pooled_projections: pooled } = conditioning;
      assert.deepEqual([1, ...states.dims], expected.shape(`${key}.prompt_embeds`));
      assert.ok(relativeError(states.data as Float32Array, expected.floats(`${key}.prompt_embeds`)) < 1e-4, key);
      assert.ok(relativeError(pooled.data as Float32Array, expected.floats(`${key}.pooled_prompt_embeds`)) < 1e-4, key);
    }
  });

  test(`${model}: the transformer and the VAE equal torch's, timesteps mixed in a batch`, async () => {
    const { engine, model: opened } = await sharedPipeline(folder);
    const probe = reference(`refs/${model}/probe`);
    const [rows, ...dims] = probe.shape('hidden_states');
    const size = probe.floats('hidden_states').length / rows;
    const registered = (row: number) => {
      const inputs: Record<string, Tensor> = {};
      for (const name of ['encoder_hidden_states', 'pooled_projections']) {
        inputs[name] = float32(probe.floats(name), probe.shape(name).slice(1));
      }
      if ('img_ids' in probe.tensors) {
        for (const name of ['img_ids', 'txt_ids']) inputs[name] = int64(probe.numbers(name), probe.shape(name));
      }
      if ('guidance' in probe.tensors) inputs.guidance = float32(probe.floats('guidance').slice(row, row + 1), []);
      return engine.register(inputs);
    };
    const { outputs } = await engine.run(
      probe.numbers('timestep').map((t, i) => ({
        graph: 'transformer',
        output: 'out_hidden_states',
        inputs: {
          hidden_states: float32(probe.floats('hidden_states').slice(i * size, (i + 1) * size), dims),
          timestep: float32(Float32Array.of(t), []),
        },
        conditioning: [registered(i)],
      })),
    );
    const all = Float32Array.from(outputs.flatMap(([row]) => [...row]));
    assert.ok(relativeError(all, probe.floats('out_hidden_states')) < 1e-4);
    for (const [graph, input, output, values] of [
      ['vae_decoder', 'latent_sample', 'sample', 'decoded'],
      ['vae_encoder', 'sample', 'latent_parameters', 'latent_parameters'],
    ] as const) {
      const name = graph === 'vae_encoder' ? 'encoder_sample' : input;
      await engine.load([graph]);
      const inputs = { [input]: float32(probe.floats(name), probe.shape(name).slice(1)) };
      const result = await engine.run([{ graph, output, inputs }]);
      assert.ok(relativeError(result.outputs[0][0], probe.floats(values)) < 1e-4, graph);
    }
    assert.equal(opened.network.latentChannels, probe.shape('latent_sample')[1]);
  });

  test(`${model}: every sampler that runs until it is exact is === serial, where batches are odd too`, async () => {
    const pipeline = await sharedPipeline(folder);
    for (const scales of [{ guidance: 1 }, { guidance: 7, trueGuidance: 2, negativePrompt: 'night' }]) {
      const size = { width: 24, height: 16, maxSequenceLength: 9 };
      const common = { prompt: 'a red ball', steps: 7, ...scales, ...size, n: 2 };
      await assertSerial(pipeline, common, [
        { blocks: 3 },
        { correction: 'parareal', blocks: [1, 4, 2], pipelined: false },
        { sampler: 'picard' },
        { sampler: 'paradigms', window: 4 },
        { sampler: 'parataa' },
        { solver: 'ddim', blocks: 3 },
      ]);
    }
  });
}

test('runs of other shapes, and of the same number of tokens in another shape, do not disturb each other', async () => {
  for (const [model, sizes] of [
    [
      'flux-dev',
      [
        { width: 24, height: 16 },
        { width: 16, height: 24 },
        { width: 16, height: 24, maxSequenceLength: 7 },
      ],
    ],
    ['sd3', [{ maxSequenceLength: 5 }, { maxSequenceLength: 9 }]],
  ] as const) {
    const pipeline = await sharedPipeline(fixture(`models/${model}`));
    const generate = async (size: Partial<GenerateOptions>) => {
      const common = { prompt: 'a red ball', steps: 4, width: 16, height: 16, maxSequenceLength: 9, ...size };
      return (await pipeline.generate(common).result).images[0].latents;
    };
    const together = await Promise.all(sizes.map(generate));
    for (const [k, size] of sizes.entries()) {
      assert.deepEqual(await generate(size), together[k], `${model} ${k}`);
    }
  }
});

test('one row an evaluation for Flux, two with true guidance; auto is serial for schnell, and says why', async () => {
  const pipeline = await sharedPipeline(fixture('models/flux-schnell'));
  const common = { prompt: 'a red ball', width: 8, height: 8, maxSequenceLength: 5 };
  const rowsOf = async (options: object) => {
    const run = pipeline.generate({ ...common, sampler: 'auto', ...options });
    const rows = new Set<number>();
    const phases: string[] = [];
    for await (const event of run) {
      if (event.type === 'batch') rows.add(event.rows);
      if (event.type === 'phase') phases.push(event.phase);
    }
    return { rows: [...rows], phases, result: await run.result };
  };
  const plain = await rowsOf({});
  assert.deepEqual(plain.rows, [1]);
  assert.deepEqual(plain.phases, ['preparing', 'sampling', 'decoding']);
  assert.equal(plain.result.settings.steps, 4);
  assert.match(plain.result.choice!.reason, /made for a few steps \(it is Flux schnell.*nothing to gain/);
  assert.deepEqual((await rowsOf({ negativePrompt: 'night', trueGuidance: 2 })).rows, [2]);
  assert.deepEqual((await rowsOf({ negativePrompt: 'night' })).rows, [1]);
});

for (const name of references('flow/srds')) {
  test(`${name}: every iterate equals the reference, the first p boundaries after p iterations ===`, async () => {
    const expected = reference(`flow/srds/${name}`);
    const { metadata } = expected;
    const start = reference(metadata.reference);
    const model = metadata.model.replace('models/', '');
    const { engine, model: opened } = await sharedPipeline(fixture(`models/${model}`));
    const batcher = new Batcher(engine);
    const networks = new Networks(opened, engine, batcher);
    const { prompt, negativePrompt, guidance = 1, width = 0, height = 0, maxSequenceLength } = optionsOf(start);
    const encode = async (text: string) => {
      const options = { size: { width, height }, sequenceLength: maxSequenceLength, guidance };
      return engine.register(await encodePrompt(opened, networks, { name: 'prompt', text }, options, ignore));
    };
    const [iterations, boundaries, ...dims] = expected.shape('iterates');
    const size = dims.reduce((a, b) => a * b);
    const all = expected.floats('iterates');
    const { network, sampleInput, networkTime, guidanceOption } = opened.family;
    const tokens = (width / opened.sizeStep) * (height / opened.sizeStep);
    const schedule = opened.scheduler.scheduleFor('euler', { tokens });
    const steps = stepsOf(schedule, Number(metadata.N));
    const denoiser = networkDenoiser({
      batcher,
      graph: network,
      output: 'out_hidden_states',
      dims,
      sampleInput,
      networkTime,
      predictionType: schedule.predictionType,
      conditional: await encode(prompt),
      unconditional: guidanceOption === 'guidance' ? await encode(negativePrompt ?? '') : undefined,
      guidance,
      priority: [],
      client: {},
    });
    // Pure noise: the state and the sample of the flow are the same.
    const common = { x: all.slice(0, size), steps, solver: euler };
    const blockSize = Number(metadata.S);
    const exact: Float32Array[] = [common.x];
    for (let i = 1; i < boundaries; i++) {
      const part = steps.slice(0, i * blockSize);
      exact.push((await drive(serial({ ...common, steps: part }), { denoiser }).result).x);
    }
    const partition = Array<number>(Number(metadata.B)).fill(blockSize);
    const correction: Correction = name.endsWith('_secant') ? 'secant' : 'parareal';
    let seen = 0;
    for await (const event of drive(srds({ ...common, partition, correction }), { denoiser })) {
      if (event.type !== 'iteration') continue;
      const p = event.iteration;
      event.boundaries.forEach((x, i) => {
        const level = i === 0 ? steps[0].from : steps[i * blockSize - 1].to;
        const from = (p * boundaries + i) * size;
        const error = relativeError(toFlow(x, level), all.slice(from, from + size));
        assert.ok(error < 1e-4, `iteration ${p}, boundary ${i}: ${error}`);
        if (i <= p) assert.deepEqual(x, exact[i]);
      });
      seen++;
    }
    assert.equal(seen, iterations);
  });
}
