import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GenerateOptions } from 'srds';
import { residualOf } from '../../src/pipeline/stopping.js';
import { fixture } from '../support/fixtures.js';
import { assertSerial, sharedPipeline } from '../support/pipelines.js';

/** An image and the mask of its right half, and of less below. */
function partOf(width: number, height: number): Pick<GenerateOptions, 'init' | 'mask' | 'width' | 'height'> {
  const init = { width, height, data: Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * 7) % 253) };
  const isFree = (i: number) => i % width >= (i < (width * height) / 2 ? width / 2 : (3 * width) / 4);
  const data = Uint8Array.from({ length: width * height }, (_, i) => (isFree(i) ? 255 : 0));
  return { init, mask: { width, height, data }, width, height };
}

for (const [model, side] of [
  ['sd15', 64],
  ['sdxl', 32],
  ['sd3', 24],
  ['flux-dev', 24],
] as const) {
  test(`${model}: with a mask every sampler that runs until it is exact is === serial`, async () => {
    const pipeline = await sharedPipeline(fixture(`models/${model}`));
    const texts = model === 'sd3' || model === 'flux-dev' ? { maxSequenceLength: 9 } : {};
    for (const strength of [0.7, 1]) {
      const common = {
        prompt: 'a red ball',
        steps: 9,
        solver: 'euler',
        strength,
        n: 2,
        ...partOf(side, side),
        ...texts,
      } as const;
      await assertSerial(pipeline, common, [
        { blocks: 3 },
        { correction: 'parareal', blocks: 2, pipelined: false },
        { sampler: 'picard' },
        { sampler: 'picard', window: 3 },
        { sampler: 'paradigms', window: 4 },
        { sampler: 'parataa' },
      ]);
    }
  });
}

test('--compare is with the masked serial image', async () => {
  const pipeline = await sharedPipeline(fixture('models/sd15'));
  const options = { prompt: 'a red ball', steps: 9, compare: true, tolerance: 0, ...partOf(64, 64) };
  const { images } = await pipeline.generate(options).result;
  assert.deepEqual(images[0].error, { mean: 0, max: 0 });
});

test('the residual refers to the repainted share of the image', async () => {
  const iterate = { iteration: 1, states: [], depth: 1, reachesEnd: true, final: undefined, x: new Float32Array(4) };
  const now = { ...iterate, predictedChange: 0.5 };
  const decode = async (x: Float32Array) => ({ width: 1, height: 1, data: Uint8Array.of(x === now.x ? 12 : 0, 0, 0) });
  const before = { ...iterate, x: new Float32Array(4) };
  assert.equal(await residualOf('look-ahead', 10, decode, 1)(now, before), 5);
  assert.equal(await residualOf('look-ahead', 10, decode, 0.25)(now, before), 10);
  assert.equal(await residualOf('change', 10, decode, 1)(now, before), 4);
  assert.equal(await residualOf('change', 10, decode, 0.25)(now, before), 16);
});
