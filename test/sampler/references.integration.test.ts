import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { networkDenoiser } from 'srds/model';
import { Batcher, DeviceEngine } from 'srds/engine';
import { drive } from 'srds/run';
import { serial, srds, type Correction } from 'srds/sampler';
import { stepsOf, type TimestepSpacing } from 'srds/schedule';
import { ddim } from 'srds/solver';
import { readModelFolder } from 'srds/model';
import { float32 } from 'srds/tensor';
import { fixture, reference, references, relativeError } from '../support/fixtures.js';

const engines = new Map<string, Promise<DeviceEngine>>();
after(async () => {
  for (const engine of engines.values()) await (await engine).close();
});

/** An engine with the UNet of a file, opened once. */
function engineFor(path: string): Promise<DeviceEngine> {
  const engine = engines.get(path) ?? DeviceEngine.open({ unet: { path, perRow: 'timestep' } });
  engines.set(path, engine);
  return engine;
}

/** An independent implementation in numpy computed these iterates: every boundary of every iteration. */
for (const name of references('srds')) {
  test(`${name}: every iterate equals the reference, the first p boundaries after p iterations ===`, async () => {
    const expected = reference(`srds/${name}`);
    const { metadata } = expected;
    const [, model, , embeddingsFile, prompt, empty] = metadata.call.split(' ');
    const embeddings = reference(embeddingsFile.replace('.safetensors', ''));
    const { scheduler } = await readModelFolder(fixture(model.replace('/onnx', '')));
    const schedule = scheduler.scheduleFor('ddim', { spacing: metadata.spacing as TimestepSpacing });
    const path = fixture(`${model.replace('/onnx', '')}/unet/model.onnx`);
    const engine = await engineFor(path);
    const register = (k: string) => {
      const key = `${k}.prompt_embeds`;
      return engine.register({
        encoder_hidden_states: float32(embeddings.floats(key), embeddings.shape(key).slice(1)),
      });
    };
    const [iterations, boundaries, ...dims] = expected.shape('iterates');
    const size = dims.reduce((a, b) => a * b);
    const all = expected.floats('iterates');
    const common = {
      x: all.slice(0, size),
      steps: stepsOf(schedule, Number(metadata.N)),
      solver: ddim,
      denoiser: networkDenoiser({
        batcher: new Batcher(engine),
        graph: 'unet',
        output: 'out_sample',
        dims,
        predictionType: schedule.predictionType,
        conditional: register(prompt),
        unconditional: register(empty),
        guidance: Number(metadata.guidance_scale),
        priority: [],
        client: {},
      }),
    };
    const blockSize = Number(metadata.S);
    const exact: Float32Array[] = [common.x];
    for (let i = 1; i < boundaries; i++) {
      const steps = common.steps.slice(0, i * blockSize);
      exact.push((await drive(serial({ ...common, steps }), { denoiser: common.denoiser }).result).x);
    }
    const partition = Array<number>(Number(metadata.B)).fill(blockSize);
    const correction: Correction = name.endsWith('_secant') ? 'secant' : 'parareal';
    const run = drive(srds({ ...common, partition, correction }), { denoiser: common.denoiser });
    let seen = 0;
    for await (const event of run) {
      if (event.type !== 'iteration') continue;
      const p = event.iteration;
      event.boundaries.forEach((x, i) => {
        const start = (p * boundaries + i) * size;
        assert.ok(relativeError(x, all.slice(start, start + size)) < 1e-4, `iteration ${p}, boundary ${i}`);
        if (i <= p) assert.deepEqual(x, exact[i]);
      });
      seen++;
    }
    assert.equal(seen, iterations);
  });
}
