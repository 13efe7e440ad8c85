import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pipeline } from 'srds';
import type { BatchReport } from 'srds/engine';
import type { RgbImage } from 'srds/image';
import { meanAbsoluteDifference } from 'srds/tensor';
import { fixture } from '../support/fixtures.js';

test('without previews it stops where it does with them, and decodes no more than it needs', async () => {
  let decoded = 0;
  const onBatch = ({ graph, rows }: BatchReport) => (decoded += graph === 'vae_decoder' ? rows : 0);
  const pipeline = await Pipeline.open(fixture('models/sd21v'), { onBatch });
  try {
    for (const seed of [1, 3]) {
      const options = { prompt: 'a small cyan torus beside a large yellow cube', steps: 25, seed };
      const shown = (await pipeline.generate(options).result).images[0];
      decoded = 0;
      const run = pipeline.generate({ ...options, previews: false });
      for await (const event of run) assert.ok(event.type !== 'iteration' || event.preview === undefined);
      const [unseen] = (await run.result).images;
      assert.deepEqual([unseen.status, unseen.iterations], [shown.status, shown.iterations]);
      assert.deepEqual(unseen.rgb, shown.rgb);
      assert.ok(decoded <= shown.iterations + 1, `${decoded} images`);
      decoded = 0;
      await pipeline.generate({ ...options, previews: false, tolerance: 0 }).result;
      assert.equal(decoded, 1);
    }
  } finally {
    await pipeline.close();
  }
});

test('picard and parataa stop by a residual below the tolerance, nearer to the serial image than that', async () => {
  const pipeline = await Pipeline.open(fixture('models/sd21v'));
  try {
    for (const [sampler, stopping] of [
      ['picard', 'look-ahead'],
      ['parataa', 'look-ahead'],
      ['picard', 'change'],
    ] as const) {
      for (const tolerance of [0.5, 2]) {
        const options = { prompt: 'a small cyan torus', steps: 25, sampler, stopping, tolerance, compare: true };
        const run = pipeline.generate(options);
        const previews: RgbImage[] = [];
        for await (const event of run) if (event.type === 'iteration' && event.preview) previews.push(event.preview);
        const [{ status, residuals, error }] = (await run.result).images;
        assert.equal(status, 'converged', `${sampler} ${tolerance}`);
        assert.deepEqual(
          residuals.map((residual) => residual < tolerance),
          residuals.map((_, k) => k === residuals.length - 1),
        );
        assert.ok(error && error.mean < tolerance, `${error?.mean}`);
        const changes = previews.slice(1).map(({ data }, k) => meanAbsoluteDifference(data, previews[k].data));
        if (stopping === 'change') {
          assert.deepEqual(
            residuals,
            changes.map((change) => change / 0.3),
          );
        }
      }
    }
  } finally {
    await pipeline.close();
  }
});
