import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Activity } from '../../src/pipeline/activity.js';
import { RecentRuns } from '../../src/pipeline/recentRuns.js';

const run = (end: number) => ({ batches: [{ begin: 0, end, rows: 2, evaluations: 1 }], showsHost: true });
const ends = (runs: ReturnType<RecentRuns['add']>) => runs?.map(({ batches: [{ end }] }) => end);

test('three runs of a kind are compared, of which none is the first', () => {
  const recent = new RecentRuns();
  assert.deepEqual(
    [1, 2, 3, 4, 5].map((end) => ends(recent.add('a', run(end)))),
    [undefined, undefined, undefined, [2, 3, 4], [3, 4, 5]],
  );
  assert.equal(recent.add('b', run(1)), undefined);
  // After a correction three new ones are.
  recent.clear('a');
  assert.deepEqual(
    [6, 7, 8].map((end) => ends(recent.add('a', run(end)))),
    [undefined, undefined, [6, 7, 8]],
  );
});

test('of many kinds the last ones are kept', () => {
  const recent = new RecentRuns();
  for (let k = 0; k < 3; k++) recent.add('old', run(k));
  for (let k = 0; k < 15; k++) recent.add(`${k}`, run(k));
  assert.deepEqual(ends(recent.add('old', run(3))), [1, 2, 3]);
  for (let k = 0; k < 16; k++) recent.add(`new ${k}`, run(k));
  for (let k = 0; k < 3; k++) assert.equal(recent.add('old', run(k)), undefined);
});

test('work is alone if nothing else was under way when it looked, or began since', async () => {
  const activity = new Activity();
  const alone = async (other: () => Promise<unknown> = () => Promise.resolve()) =>
    activity.during(async () => {
      const isAlone = activity.watch();
      await other();
      return isAlone();
    });
  assert.equal(await alone(), true);
  assert.equal(await alone(() => activity.during(() => Promise.resolve())), false);
  let end = (): void => undefined;
  const before = activity.during(() => new Promise<void>((resolve) => (end = resolve)));
  assert.equal(
    await alone(async () => {
      end();
      await before;
    }),
    false,
  );
  // Work that fails has ended too.
  await assert.rejects(activity.during(() => Promise.reject(new Error('failed'))));
  assert.equal(await alone(), true);
});
