import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Pipeline } from 'srds';
import type { ModelFolder } from 'srds/model';
import { Models, type ServedModel } from 'srds/server';

const never = new AbortController().signal;

/** Work that reports its start and runs until it is ended. */
function work() {
  let end: () => void = () => undefined;
  let start: () => void = () => undefined;
  const started = new Promise<void>((resolve) => (start = resolve));
  const ended = new Promise<void>((resolve) => (end = resolve));
  const run = () => {
    start();
    return ended;
  };
  return { run, started, end: () => end() };
}

/** Three models of 10 bytes each that record when they are opened and closed. */
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
    use: (name: string, run: () => Promise<void> = async () => undefined) => models.use(models.find(name), never, run),
  };
}

test('the least recently used idle model is evicted; a model in use stays open', async () => {
  const { open, opened, use } = tinyModels(20);
  for (const name of ['a', 'b', 'a', 'c']) await use(name);
  assert.deepEqual(
    [[...open], opened],
    [
      ['a', 'c'],
      ['a', 'b', 'c'],
    ],
  );
  const [long, other] = [work(), work()];
  const users = [use('a', long.run), use('c', other.run)];
  await Promise.all([long.started, other.started]);
  const third = use('b');
  await turn();
  assert.deepEqual(opened, ['a', 'b', 'c']);
  other.end();
  await third;
  assert.deepEqual([...open].sort(), ['a', 'b']);
  long.end();
  await Promise.all(users);
});

test('a model that needs memory gets it in its turn although another one is never idle', async () => {
  const { use } = tinyModels(10);
  let ended = false;
  let runs = 0;
  const threeTurns = async () => {
    runs++;
    for (let k = 0; k < 3; k++) await turn();
  };
  const steady = async () => {
    while (!ended) await use('a', threeTurns);
  };
  const users = [steady(), turn().then(steady)];
  while (runs < 4) await turn();
  await use('b');
  await use('c');
  ended = true;
  await Promise.all(users);
});

test('an aborted request does not wait for its model to load', async () => {
  const slow = new Promise<Pipeline>(() => undefined);
  const models = new Models([{ name: 'a', folder: {} as ModelFolder, bytes: 1 }], () => slow);
  const controller = new AbortController();
  const using = models.use(models.find('a'), controller.signal, async () => undefined);
  controller.abort(new Error('gone'));
  await assert.rejects(using, /gone/);
});

test('after a restart later requests use models opened again; running requests keep theirs', async () => {
  const { models, open, opened, use } = tinyModels(20);
  const long = work();
  const using = use('a', long.run);
  await long.started;
  models.restart();
  await use('a');
  assert.deepEqual([opened, [...open]], [['a', 'a'], ['a']]);
  long.end();
  await using;
  await models.close();
  assert.equal(open.size, 0);
});

test("OpenAI's names mean the default model; other unknown names are refused", () => {
  const { models } = tinyModels(20);
  assert.equal(models.find(undefined).name, 'a');
  assert.equal(models.find('gpt-image-1').name, 'a');
  assert.equal(models.find('dall-e-3').name, 'a');
  assert.equal(models.find('c').name, 'c');
  assert.throws(() => models.find('d'), { status: 404, code: 'model_not_found' });
});
