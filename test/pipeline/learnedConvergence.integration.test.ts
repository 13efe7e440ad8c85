import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readModelFolder } from 'srds/model';
import { LearnedConvergence } from '../../src/pipeline/learnedConvergence.js';
import { settingsOf, type GenerateOptions } from '../../src/pipeline/options.js';
import type { GeneratedImage } from '../../src/pipeline/result.js';
import { ownCache } from '../support/cache.js';
import { fixture } from '../support/fixtures.js';

ownCache();

const model = await readModelFolder(fixture('models/sd15'));
const settings = (options: Partial<GenerateOptions> = {}) =>
  settingsOf({ prompt: '', steps: 25, sampler: 'srds', ...options }, model);
const images = (iterations: number) => [{ status: 'converged', iterations }] as unknown as GeneratedImage[];

test('runs with blocks that the planner does not consider teach nothing of those that it does', async () => {
  const learned = new LearnedConvergence(model);
  await learned.learn(settings(), images(2));
  const before = (await learned.known(settings())).records;
  assert.equal(before.length, 1);
  const { length } = settings().partition;
  for (const blocks of [length, [...settings().partition].reverse()])
    await learned.learn(settings({ blocks }), images(5));
  assert.deepEqual((await learned.known(settings())).records, before);
  // Fewer blocks are even in plans too.
  await learned.learn(settings({ blocks: 5 }), images(3));
  assert.deepEqual(
    (await learned.known(settings())).records.map(({ parts, iterations }) => [parts, iterations]),
    [
      [length, 2],
      [5, 3],
    ],
  );
  await learned.save();
});

test('of runs that end at the same time each one counts', async () => {
  const learned = new LearnedConvergence(model);
  await Promise.all([1, 2, 3, 4].map((iterations) => learned.learn(settings({ steps: 30 }), images(iterations))));
  const { records } = await learned.known(settings());
  assert.deepEqual(
    records.filter(({ steps }) => steps === 30).map(({ runs, iterations }) => [runs, iterations]),
    [[4, 2.5]],
  );
  await learned.save();
});
