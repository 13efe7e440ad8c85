import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { Pipeline, type GenerateOptions } from 'srds';
import { Activity, type OpenOptions } from 'srds/pipeline';
import { z } from 'zod';
import { ownCache } from '../support/cache.js';
import { fixture } from '../support/fixtures.js';

const cache = ownCache();

const request = { prompt: 'a', steps: 12, sampler: 'serial', previews: false } as const;
const curveFile = z.looseObject({
  points: z.array(z.looseObject({ rows: z.number(), seconds: z.number() })),
  hostSeconds: z.number(),
});
/** Seconds of a row that no batch takes here. */
const WRONG = 5;
let path: string;
let wrong: z.output<typeof curveFile>;

async function withPipeline(use: (pipeline: Pipeline) => Promise<void>, options: OpenOptions = {}): Promise<void> {
  const pipeline = await Pipeline.open(fixture('models/sd15'), options);
  try {
    await use(pipeline);
  } finally {
    await pipeline.close();
  }
}

before(async () => {
  await withPipeline(async (pipeline) => {
    await pipeline.machine(request);
  });
  const folder = join(cache, 'srds', 'curves');
  const [name, ...others] = readdirSync(folder);
  assert.deepEqual(others, []);
  path = join(folder, name);
  const measured = curveFile.parse(JSON.parse(readFileSync(path, 'utf8')));
  const points = measured.points.map((point) => ({ ...point, seconds: WRONG * point.rows, steady: true }));
  wrong = { ...measured, points, complete: true };
});

/** Opens a pipeline that knows the wrong curve. */
async function withWrongCurve(use: (pipeline: Pipeline) => Promise<void>, options: OpenOptions = {}): Promise<void> {
  writeFileSync(path, JSON.stringify(wrong));
  await withPipeline(use, options);
}
const kept = () => curveFile.parse(JSON.parse(readFileSync(path, 'utf8')));
const generate = (pipeline: Pipeline, options: Partial<GenerateOptions> = {}) =>
  pipeline.generate({ ...request, ...options }).result;

/** Generates until the curve is corrected. Times that other work makes differ say nothing. @returns the number of runs */
async function correct(pipeline: Pipeline, options: Partial<GenerateOptions> = {}): Promise<number> {
  for (let runs = 0; ; runs++) {
    if (kept().points.some(({ seconds }, k) => seconds !== wrong.points[k].seconds)) return runs;
    assert.ok(runs < 25);
    await generate(pipeline, options);
  }
}

test('a curve that is wrong is corrected by runs that are alone, and kept', async () => {
  await withWrongCurve(async (pipeline) => {
    // Three runs are too few with the first one, which compiles code.
    assert.ok((await correct(pipeline)) > 3);
    const { devices } = await pipeline.machine(request);
    assert.ok(devices[0].points[0].seconds < WRONG / 10);
  });
  const { points } = kept();
  const each = points.map(({ rows, seconds }) => seconds / rows);
  // Sizes that no run had kept their proportion.
  for (const one of each) assert.ok(Math.abs(one / each[0] - 1) < 1e-6);
  assert.ok(each[0] < WRONG / 10);
});

test('runs that are not alone from their first step to their last change nothing', async () => {
  const activity = new Activity();
  await withWrongCurve(
    async (pipeline) => {
      await generate(pipeline);
      for (let k = 0; k < 4; k++) await generate(pipeline, { n: 2 });
      for (let k = 0; k < 4; k++) await generate(pipeline, { sampler: 'srds', compare: true });
      for (let k = 0; k < 4; k++) await Promise.all([generate(pipeline), generate(pipeline)]);
      // While a forecast is made, and while another pipeline is active that shares its devices.
      for (const other of [
        () => pipeline.forecast(request),
        () => activity.during(() => Promise.resolve()),
        () => pipeline.machine(request),
      ])
        for (let k = 0; k < 4; k++) {
          const run = pipeline.generate(request);
          let done: Promise<unknown> | undefined;
          for await (const event of run) if (event.type === 'evaluation') done ??= other();
          await Promise.all([run.result, done]);
        }
      assert.deepEqual(kept().points, wrong.points);
      await correct(pipeline);
    },
    { activity },
  );
});

test('runs whose images are decoded on the way correct the times of batches only', async () => {
  await withWrongCurve(async (pipeline) => {
    await correct(pipeline, { sampler: 'srds', steps: 30, tolerance: 0, maxIterations: 3, previews: true });
    assert.equal(kept().hostSeconds, wrong.hostSeconds);
    assert.equal(kept().hostSecondsEach, undefined);
  });
});

test('what the host takes is kept where larger batches are measured', async () => {
  const [smallest] = wrong.points;
  const points = [{ ...smallest, seconds: 0.5 }];
  writeFileSync(path, JSON.stringify({ ...wrong, points, hostSecondsEach: 0.001, complete: false }));
  await withPipeline(async (pipeline) => {
    await generate(pipeline, { sampler: 'auto', steps: 100 });
  });
  assert.ok(kept().points.length > 1);
  assert.equal(kept().hostSecondsEach, 0.001);
});
