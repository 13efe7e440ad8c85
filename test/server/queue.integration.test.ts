import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { ApiError, Queue, type ModelPlace } from 'srds/server';

const never = new AbortController().signal;

/** Enters jobs by name and records the order of their turns. */
function jobsOf(queue: Queue) {
  const order: string[] = [];
  const leave = new Map<string, () => void>();
  const enter = (name: string, key = 'a', priority = 0, signal = never) =>
    queue.enter({ key, priority, signal }).then((end) => {
      order.push(name);
      leave.set(name, end);
    });
  return { order, enter, leave: (name: string) => leave.get(name)!() };
}

test('jobs up to the limit run at once; the others wait in the order of arrival', async () => {
  const queue = new Queue(2, 10);
  const { order, enter, leave } = jobsOf(queue);
  const all = ['1', '2', '3', '4'].map((name) => enter(name));
  await turn();
  assert.deepEqual([order, queue.runningCount, queue.waitingCount], [['1', '2'], 2, 2]);
  leave('2');
  await turn();
  assert.deepEqual(order, ['1', '2', '3']);
  leave('1');
  leave('3');
  await Promise.all(all);
  assert.deepEqual(order, ['1', '2', '3', '4']);
});

test('keys take turns, whatever their number of jobs and priorities; among the jobs of a key higher priorities run first', async () => {
  const queue = new Queue(1, 20);
  const { order, enter, leave } = jobsOf(queue);
  for (let k = 0; k < 6; k++) void enter(`a${k}`, 'a');
  void enter('b0', 'b');
  void enter('b1', 'b');
  void enter('c0', 'c');
  void enter('urgent', 'a', 5);
  for (let k = 0; k < 9; k++) {
    await turn();
    leave(order[k]);
  }
  await turn();
  assert.deepEqual(order, ['a0', 'b0', 'c0', 'urgent', 'b1', 'a1', 'a2', 'a3', 'a4', 'a5']);
});

test('waiting jobs learn how many go before them, each number once', async () => {
  const queue = new Queue(1, 10);
  const reported: string[] = [];
  const gone = new AbortController();
  const enter = (name: string, priority = 0, signal = never) =>
    queue.enter({ key: 'a', priority, signal, onAhead: (ahead) => reported.push(`${name} ${ahead}`) });
  const end = await enter('1');
  const second = enter('2');
  const third = enter('3', 0, gone.signal);
  const fourth = enter('4');
  void enter('urgent', 5);
  assert.deepEqual(reported.splice(0), ['1 0', '2 0', '3 1', '4 2', 'urgent 0']);
  await turn();
  assert.deepEqual(reported.splice(0), ['2 1', '3 2', '4 3']);
  gone.abort(new Error('gone'));
  await assert.rejects(third, /gone/);
  await turn();
  assert.deepEqual(reported.splice(0), ['4 2']);
  end();
  await turn();
  assert.deepEqual(reported.splice(0), ['2 0', '4 1']);
  void second;
  void fourth;
});

test('the numbers of jobs that go before are those of the order in which they run', async () => {
  const job = fc.record({ key: fc.constantFrom('a', 'b', 'c'), priority: fc.integer({ min: -1, max: 1 }) });
  const jobs = fc.array(job, { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(jobs, job, jobs, async (earlier, blocking, later) => {
      const queue = new Queue(1, 100);
      for (const { key, priority } of earlier) (await queue.enter({ key, priority, signal: never }))();
      const unblock = await queue.enter({ ...blocking, signal: never });
      const reported = later.map(() => -1);
      const ran: number[] = [];
      const all = later.map(async ({ key, priority }, k) => {
        const onAhead = (ahead: number) => (reported[k] = ahead);
        const end = await queue.enter({ key, priority, signal: never, onAhead });
        ran.push(k);
        end();
      });
      await turn();
      const expected = [...later.keys()].sort((a, b) => reported[a] - reported[b]);
      assert.deepEqual(
        expected.map((k) => reported[k]),
        [...later.keys()],
      );
      unblock();
      await Promise.all(all);
      assert.deepEqual(ran, expected);
    }),
    { numRuns: 200 },
  );
});

test('an aborted job leaves the queue and rejects with the reason of its signal', async () => {
  const queue = new Queue(1, 10);
  const { order, enter, leave } = jobsOf(queue);
  await enter('1');
  const controller = new AbortController();
  const second = enter('2', 'a', 0, controller.signal);
  const third = enter('3');
  controller.abort(new Error('gone'));
  await assert.rejects(second, /gone/);
  assert.equal(queue.waitingCount, 1);
  leave('1');
  await third;
  assert.deepEqual(order, ['1', '3']);
  await assert.rejects(queue.enter({ key: 'a', priority: 0, signal: controller.signal }), /gone/);
});

test('a full queue refuses with Retry-After and evicts a job of the key with most waiting jobs for a key with fewer', async () => {
  const queue = new Queue(1, 3);
  const { enter } = jobsOf(queue);
  await enter('a0');
  const waiting = [enter('a1'), enter('a2'), enter('a3')];
  const last = assert.rejects(waiting[2], { status: 429, code: 'queue_full' });
  await assert.rejects(
    queue.enter({ key: 'a', priority: 0, signal: never }),
    (error: unknown) => error instanceof ApiError && Number(error.headers['retry-after']) >= 1,
  );
  void enter('b0', 'b');
  await last;
  assert.equal(queue.waitingCount, 3);
  await assert.rejects(queue.enter({ key: 'b', priority: 0, signal: never }), { status: 429 });
});

test('a full queue refuses jobs whose model waits for memory, though fewer run than may', async () => {
  const queue = new Queue(2, 3);
  const { enter } = jobsOf(queue);
  const enterFor = (place: ModelPlace) => queue.enter({ key: 'a', priority: 0, signal: never, place: () => place });
  await enter('first');
  for (let k = 0; k < 3; k++) void enterFor('busy');
  await assert.rejects(enterFor('busy'), { status: 429 });
  // A model that could be loaded waits for the job before it.
  await assert.rejects(enterFor('idle'), { status: 429 });
  assert.equal(queue.waitingCount, 3);
  // A job that need not wait is admitted.
  await enter('second');
  assert.equal(queue.runningCount, 2);
});

test('a job whose model could be loaded starts when the one before it, which waits for memory, is aborted', async () => {
  const queue = new Queue(2, 10);
  const { enter } = jobsOf(queue);
  await enter('first');
  const gone = new AbortController();
  const busy = queue.enter({ key: 'a', priority: 0, signal: gone.signal, place: () => 'busy' });
  const idle = queue.enter({ key: 'a', priority: 0, signal: never, place: () => 'idle' });
  assert.equal(queue.waitingCount, 2);
  gone.abort(new Error('gone'));
  await assert.rejects(busy, /gone/);
  await idle;
  assert.equal(queue.runningCount, 2);
});

test('a full queue evicts from the largest key whatever its priorities, and a lower priority for a higher one of the same key', async () => {
  const queue = new Queue(1, 3);
  const { enter } = jobsOf(queue);
  await enter('a0');
  const waiting = [enter('a1', 'a', 10), enter('a2', 'a', 3), enter('a3', 'a', 10)];
  const lowest = assert.rejects(waiting[1], { status: 429 });
  void enter('b0', 'b', -10);
  await lowest;
  await assert.rejects(queue.enter({ key: 'a', priority: 10, signal: never }), { status: 429 });
  const own = assert.rejects(waiting[2], { status: 429 });
  void enter('a4', 'a', 11);
  await own;
  assert.equal(queue.waitingCount, 3);
});

test('every job that is not aborted has one turn, and never more than the limit run', async () => {
  const step = fc.record({
    key: fc.constantFrom('a', 'b', 'c'),
    priority: fc.integer({ min: -2, max: 2 }),
    abort: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.integer({ min: 1, max: 4 }), async (steps, concurrency) => {
      const queue = new Queue(concurrency, 100);
      let ended = 0;
      const all = steps.map(async ({ key, priority, abort }) => {
        const controller = new AbortController();
        const entering = queue.enter({ key, priority, signal: controller.signal });
        if (abort) controller.abort(new Error('gone'));
        const leave = await entering;
        assert.ok(queue.runningCount <= concurrency);
        await turn();
        leave();
        ended++;
      });
      const results = await Promise.allSettled(all);
      assert.equal(ended, results.filter(({ status }) => status === 'fulfilled').length);
      results.forEach(({ status }, i) => assert.ok(status === 'fulfilled' || steps[i].abort));
      assert.deepEqual([queue.runningCount, queue.waitingCount], [0, 0]);
    }),
    { numRuns: 50 },
  );
});
