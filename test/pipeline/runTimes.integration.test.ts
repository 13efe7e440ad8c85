import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Pipeline, type GenerateOptions } from 'srds';
import { z } from 'zod';
import { ownCache } from '../support/cache.js';
import { fixture } from '../support/fixtures.js';

ownCache();

const request = { prompt: 'a', steps: 12, sampler: 'serial', previews: false } as const;
const curveFile = z.looseObject({ points: z.array(z.looseObject({ rows: z.number(), seconds: z.number() })) });

/** The file of the only curve that is kept. */
function curvePath(): string {
  const folder = join(process.env.XDG_CACHE_HOME ?? '', 'srds', 'curves');
  const names = readdirSync(folder);
  assert.equal(names.length, 1);
  return join(folder, names[0]);
}

async function withPipeline(use: (pipeline: Pipeline) => Promise<void>): Promise<void> {
  const pipeline = await Pipeline.open(fixture('models/sd15'));
  try {
    await use(pipeline);
  } finally {
    await pipeline.close();
  }
}

/** Seconds of the smallest batch, as the planner knows them. */
async function smallest(pipeline: Pipeline): Promise<number> {
  return (await pipeline.machine(request)).devices[0].points[0].seconds;
}

test('a curve that is wrong is corrected by runs that are alone, and kept', async () => {
  const wrong = 5;
  await withPipeline(async (pipeline) => {
    await pipeline.machine(request);
  });
  const path = curvePath();
  const measured = curveFile.parse(JSON.parse(readFileSync(path, 'utf8')));
  const points = measured.points.map((point) => ({ ...point, seconds: wrong * point.rows }));
  writeFileSync(path, JSON.stringify({ ...measured, points, complete: true }));
  await withPipeline(async (pipeline) => {
    const first = await smallest(pipeline);
    assert.ok(first >= wrong);
    const generate = (options: Partial<GenerateOptions> = {}) => pipeline.generate({ ...request, ...options }).result;
    // Neither runs of several images nor those beside others say anything, and three runs are too few with the first one.
    for (let k = 0; k < 4; k++) await generate({ n: 2 });
    for (let k = 0; k < 4; k++) await Promise.all([generate(), generate()]);
    for (let k = 0; k < 3; k++) await generate();
    assert.equal(await smallest(pipeline), first);
    // Times that other work makes differ say nothing either.
    for (let tries = 0; (await smallest(pipeline)) === first; tries++) {
      assert.ok(tries < 20);
      await generate();
    }
    assert.ok((await smallest(pipeline)) < 0.5);
  });
  const kept = curveFile.parse(JSON.parse(readFileSync(path, 'utf8')));
  const [small, large] = [kept.points[0], kept.points.at(-1)!];
  assert.ok(small.seconds < 0.5);
  // Sizes that no run had kept their proportion.
  assert.ok(Math.abs(large.seconds / small.seconds / (large.rows / small.rows) - 1) < 1e-6 || kept.points.length === 1);
  await withPipeline(async (pipeline) => assert.equal(await smallest(pipeline), small.seconds));
});
