import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Pipeline, type GenerateOptions } from 'srds';
import { isMultistep, solverOf, type SolverName } from 'srds/solver';
import { assertSameImage, fixture, reference, references, relativeError } from '../support/fixtures.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

/** A fixture model whose scheduler file is changed. */
function withScheduler(name: string, model: string, overrides: object): string {
  const folder = join(scratch, name);
  cpSync(fixture(`models/${model}`), folder, { recursive: true });
  const file = join(folder, 'scheduler/scheduler_config.json');
  const published = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...published, ...overrides }));
  return folder;
}

/** Every solver and setting, drawn by diffusers from the prompt, or from an image, to the image. */
for (const name of references('refs/solvers')) {
  test(`${name}: serial equals diffusers, and SRDS serial, ===`, async () => {
    const expected = reference(`refs/solvers/${name}`);
    const { model, solver, overrides, prompt, seed } = expected.metadata;
    const given = JSON.parse(expected.metadata.arguments) as Record<string, number | string | undefined>;
    const side = expected.shape('image_uint8');
    const options: GenerateOptions = {
      prompt,
      seed: BigInt(seed),
      solver: solver as SolverName,
      steps: Number(given.num_inference_steps),
      guidance: Number(given.guidance_scale),
      guidanceRescale: Number(given.guidance_rescale ?? 0),
      eta: Number(given.eta ?? 0),
      negativePrompt: given.negative_prompt as string | undefined,
      height: side[0],
      width: side[1],
      ...('strength' in given && {
        strength: Number(given.strength),
        init: { height: side[0], width: side[1], data: expected.bytes('init') },
      }),
    };
    const pipeline = await Pipeline.open(withScheduler(name, model, JSON.parse(overrides) as object));
    try {
      const { images, settings } = await pipeline.generate({ ...options, sampler: 'serial' }).result;
      const error = relativeError(images[0].latents, expected.floats('latents'));
      assert.ok(error < 1e-4, `${error}`);
      assertSameImage(images[0].rgb!.data, expected.bytes('image_uint8'));
      if (isMultistep(solverOf(settings.solver, settings))) return;
      const exact = await pipeline.generate({ ...options, tolerance: 0 }).result;
      assert.equal(exact.images[0].status, 'exact');
      assert.deepEqual(exact.images[0].latents, images[0].latents);
      assert.ok(exact.images[0].evaluations.critical <= images[0].evaluations.total);
      assert.equal(images[0].evaluations.total, images[0].evaluations.serial);
    } finally {
      await pipeline.close();
    }
  });
}
