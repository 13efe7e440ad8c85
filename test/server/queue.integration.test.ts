import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import type { Pipeline } from 'srds';
import type { ModelFolder } from 'srds/model';
import { ApiError, Models, Queue, type ServedModel } from 'srds/server';

const never = new AbortController().signal;

/** Enters, and keeps the order in which visitors had their turns. */
function visitorsOf(queue: Queue) {
  const order: string[] = [];
  const leave = new Map<string, () => void>();
  const enter = (name: string, key = 'a', priority = 0, signal = never) =>
    queue.enter({ key, priority, signal }).then((end) => {
      order.push(name);
      leave.set(name, end);
    });
  return { order, enter, leave: (name: string) => leave.get(name)!() };
}

test('so many run at once, the others wait in the order of arrival', async () => {
  const queue = new Queue(2, 10);
  const { order, enter, leave } = visitorsOf(queue);
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

test('keys have turns alike however much and however urgently one asks, and its higher priorities go first', async () => {
  const queue = new Queue(1, 20);
  const { order, enter, leave } = visitorsOf(queue);
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

test('who gives up leaves its place, and what it ends with is what it was given up for', async () => {
  const queue = new Queue(1, 10);
  const { order, enter, leave } = visitorsOf(queue);
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
  assert.throws(() => queue.enter({ key: 'a', priority: 0, signal: controller.signal }), /gone/);
});

test('when it is full it says when to ask again, and a key that waits most gives a place to one that waits less', async () => {
  const queue = new Queue(1, 3);
  const { enter } = visitorsOf(queue);
  await enter('a0');
  const waiting = [enter('a1'), enter('a2'), enter('a3')];
  const last = assert.rejects(waiting[2], { status: 429, code: 'queue_full' });
  assert.throws(
    () => queue.enter({ key: 'a', priority: 0, signal: never }),
    (error: unknown) => error instanceof ApiError && Number(error.headers['retry-after']) >= 1,
  );
  void enter('b0', 'b');
  await last;
  assert.equal(queue.waitingCount, 3);
  assert.throws(() => queue.enter({ key: 'b', priority: 0, signal: never }), { status: 429 });
});

test('a full queue is no place for one key alone, whatever its priorities; its own lower ones make way for higher ones', async () => {
  const queue = new Queue(1, 3);
  const { enter } = visitorsOf(queue);
  await enter('a0');
  const waiting = [enter('a1', 'a', 10), enter('a2', 'a', 3), enter('a3', 'a', 10)];
  const lowest = assert.rejects(waiting[1], { status: 429 });
  void enter('b0', 'b', -10);
  await lowest;
  assert.throws(() => queue.enter({ key: 'a', priority: 10, signal: never }), { status: 429 });
  const own = assert.rejects(waiting[2], { status: 429 });
  void enter('a4', 'a', 11);
  await own;
  assert.equal(queue.waitingCount, 3);
});

test('whatever comes and goes, everyone who does not give up has a turn once and never more than allowed run', async () => {
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

/** Models that weigh 10 bytes each and only tell whether they are open. */
function tinyModels(memoryBytes: number) {
  const open = new Set<string>();
  const opened: string[] = [];
  const served = ['a', 'b', 'c'].map((name): ServedModel => ({ name, folder: { name } as ModelFolder, bytes: 10 }));
  const models = new Models(
    served,
    async ({ name }) => {
      opened.push(name);
      open.add(name);
      assert.ok(10 * open.size <= memoryBytes);
      return { close: async () => void open.delete(name) } as unknown as Pipeline;
    },
    memoryBytes,
  );
  return {
    models,
    open,
    opened,
    use: (name: string, work = async () => undefined) => models.use(models.find(name), never, work),
  };
}

test('models share the memory: the least recently used one makes way, one in use never does', async () => {
  const { open, opened, use } = tinyModels(20);
  for (const name of ['a', 'b', 'a', 'c']) await use(name);
  assert.deepEqual(
    [[...open], opened],
    [
      ['a', 'c'],
      ['a', 'b', 'c'],
    ],
  );
  let end: () => void = () => undefined;
  const long = use('a', () => new Promise((resolve) => (end = () => resolve(undefined))));
  const other = use('c', () => new Promise((resolve) => setTimeout(() => resolve(undefined), 20)));
  const third = use('b');
  await other;
  await third;
  assert.deepEqual([...open].sort(), ['a', 'b']);
  end();
  await long;
});

test('a model that needs room has it in its turn, however steadily another one is used', async () => {
  const { use } = tinyModels(10);
  let ended = false;
  const steady = async () => {
    while (!ended) await use('a', () => new Promise((resolve) => setTimeout(() => resolve(undefined), 3)));
  };
  const users = [steady(), new Promise((resolve) => setTimeout(resolve, 1)).then(steady)];
  await new Promise((resolve) => setTimeout(resolve, 10));
  await use('b');
  await use('c');
  ended = true;
  await Promise.all(users);
});

test('who gives up does not wait for a model to be loaded', async () => {
  const slow = new Promise<Pipeline>(() => undefined);
  const models = new Models([{ name: 'a', folder: {} as ModelFolder, bytes: 1 }], () => slow);
  const controller = new AbortController();
  const using = models.use(models.find('a'), controller.signal, async () => undefined);
  controller.abort(new Error('gone'));
  await assert.rejects(using, /gone/);
});

test('models that are opened anew serve what comes from then on; what is under way keeps what it has', async () => {
  const { models, open, opened, use } = tinyModels(20);
  let end: () => void = () => undefined;
  const long = use('a', () => new Promise((resolve) => (end = () => resolve(undefined))));
  await turn();
  models.restart();
  await use('a');
  assert.deepEqual([opened, [...open]], [['a', 'a'], ['a']]);
  end();
  await long;
  await models.close();
  assert.equal(open.size, 0);
});

test("OpenAI's names mean the default model, others that are not served are refused", () => {
  const { models } = tinyModels(20);
  assert.equal(models.find(undefined).name, 'a');
  assert.equal(models.find('gpt-image-1').name, 'a');
  assert.equal(models.find('dall-e-3').name, 'a');
  assert.equal(models.find('c').name, 'c');
  assert.throws(() => models.find('d'), { status: 404, code: 'model_not_found' });
});
