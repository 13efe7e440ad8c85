import assert from 'node:assert/strict';
import { after } from 'node:test';
import { Pipeline, type GenerateOptions } from 'srds';
import { readModelFolder } from 'srds/model';

const opened = new Map<string | undefined, Promise<Pipeline>>();
after(async () => {
  for (const pipeline of await Promise.allSettled(opened.values()))
    if (pipeline.status === 'fulfilled') await pipeline.value.close();
});

/**
 * The pipeline of a model folder, for tests that only generate: opened once per test file and closed after its tests.
 * @param folder default: the bundled model
 */
export function sharedPipeline(folder?: string): Promise<Pipeline> {
  const pipeline = opened.get(folder) ?? Pipeline.open(folder);
  opened.set(folder, pipeline);
  return pipeline;
}

/** A pipeline of a folder that differs from another one in its scheduler only: on the engine of that one's pipeline. */
export async function withGraphsOf(original: string, folder: string): Promise<Pipeline> {
  const { engine } = await sharedPipeline(original);
  return new Pipeline(await readModelFolder(folder), engine);
}

/** Asserts that samplers that run until they are exact give the serial sampler's images, `===`. @param forms options of each sampler */
export async function assertSerial(
  pipeline: Pipeline,
  common: GenerateOptions,
  forms: readonly Partial<GenerateOptions>[],
): Promise<void> {
  const { images: expected } = await pipeline.generate({ ...common, sampler: 'serial' }).result;
  for (const form of forms) {
    const { images } = await pipeline.generate({ ...common, ...form, tolerance: 0 }).result;
    images.forEach(({ status, latents, rgb }, k) => {
      assert.equal(status, 'exact');
      assert.deepEqual(latents, expected[k].latents, JSON.stringify(form));
      assert.deepEqual(rgb, expected[k].rgb);
    });
  }
}
