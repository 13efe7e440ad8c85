import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { SrdsError, type Pipeline } from 'srds';
import type { ModelFolder } from 'srds/model';
import { Models, Queue, type ServedModel } from 'srds/server';

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
  /** Names of models that do not open. */
  const broken = new Set<string>();
  const engine: { available?: boolean } = {};
  const state: { warmUp: () => Promise<void> } = { warmUp: () => Promise.resolve() };
  const served = ['a', 'b', 'c'].map((name): ServedModel => {
    return { name, folder: { name, path: `/srv/models/${name}` } as ModelFolder, bytes: 10 };
  });
  const models = new Models(
    served,
    {
      read: async (model) => ({ ...model, folder: { ...model.folder } }),
      open: async ({ name }) => {
        if (broken.has(name))
          throw new SrdsError('MODEL_INVALID', 'a graph', `none in /srv/models/${name}/unet`, 'export');
        opened.push(name);
        open.add(name);
        assert.ok(10 * open.size <= memoryBytes);
        const close = async () => void open.delete(name);
        return { engine, close, warmUp: () => state.warmUp() } as unknown as Pipeline;
      },
    },
    memoryBytes,
  );
  return {
    models,
    open,
    opened,
    broken,
    engine,
    state,
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
  const source = { read: async (model: ServedModel) => model, open: () => new Promise<Pipeline>(() => undefined) };
  const models = new Models([{ name: 'a', folder: {} as ModelFolder, bytes: 1 }], source);
  const controller = new AbortController();
  const using = models.use(models.find('a'), controller.signal, async () => undefined);
  controller.abort(new Error('gone'));
  await assert.rejects(using, /gone/);
});

test('after a reload later requests use models read and opened again; running requests keep theirs', async () => {
  const { models, open, opened, use } = tinyModels(30);
  const [first] = models.served;
  const long = work();
  const using = use('a', long.run);
  await long.started;
  await models.reload((name) => assert.ok(false, name));
  assert.notEqual(models.served[0].folder, first.folder);
  await use('a');
  assert.deepEqual([opened, [...open]], [['a', 'a'], ['a']]);
  long.end();
  await using;
  await models.close();
  assert.equal(open.size, 0);
});

test('a model that does not open again stays; without memory for both, it is opened by the next request', async () => {
  for (const memory of [20, 10]) {
    const { models, opened, broken, use } = tinyModels(memory);
    await use('a');
    broken.add('a');
    const failures: string[] = [];
    await models.reload((name) => failures.push(name));
    if (memory === 20) {
      assert.deepEqual(failures, ['a']);
      await use('a');
      assert.deepEqual([opened, models.readiness], [['a'], 'ok']);
    } else {
      await assert.rejects(use('a'), { status: 503 });
      broken.clear();
      await use('a');
      assert.deepEqual(opened, ['a', 'a']);
    }
  }
});

test('each model has a status; a failure names no path, and the next request tries again', async () => {
  const { models, broken, engine, use } = tinyModels(30);
  const statuses = () => models.served.map((model) => models.status(model));
  assert.deepEqual([models.readiness, statuses()], ['starting', ['unloaded', 'unloaded', 'unloaded']]);
  await use('a');
  broken.add('b');
  await assert.rejects(use('b'), (error: Error) => {
    assert.match(
      error.message,
      /^expected model b to open, found that it does not \(expected a graph, found none in unet\)/,
    );
    return (error as Error & { status: number }).status === 503;
  });
  assert.deepEqual([models.readiness, statuses()], ['ok', ['loaded', 'failed', 'unloaded']]);
  broken.clear();
  await use('b');
  assert.deepEqual(statuses(), ['loaded', 'loaded', 'unloaded']);
  engine.available = false;
  assert.deepEqual([models.readiness, statuses()], ['unavailable', ['unavailable', 'unavailable', 'unloaded']]);
  engine.available = true;
  await models.unload(models.find('a'));
  assert.deepEqual([models.readiness, statuses()], ['ok', ['unloaded', 'loaded', 'unloaded']]);
});

test('after a failed request a model is opened anew only if its devices are lost', async () => {
  const { opened, engine, use } = tinyModels(30);
  const fail = async () => {
    throw new SrdsError('ENGINE_FAILED', 'memory for a batch', 'too little', 'choose a smaller size');
  };
  engine.available = true;
  await assert.rejects(use('a', fail), { code: 'ENGINE_FAILED' });
  await use('a');
  assert.deepEqual(opened, ['a']);
  engine.available = false;
  await assert.rejects(use('a', fail), { code: 'ENGINE_FAILED' });
  engine.available = true;
  await use('a');
  assert.deepEqual(opened, ['a', 'a']);
});

test('a model that became larger on disk counts with its new size once it is opened', async () => {
  const sizes = new Map([
    ['a', 10],
    ['b', 10],
  ]);
  const open = new Set<string>();
  const served = [...sizes].map(([name, bytes]): ServedModel => {
    return { name, folder: { name, path: name } as ModelFolder, bytes };
  });
  const models = new Models(
    served,
    {
      read: async (model) => ({ ...model, bytes: sizes.get(model.name)! }),
      open: async ({ name }) => {
        open.add(name);
        return { engine: {}, close: async () => void open.delete(name) } as unknown as Pipeline;
      },
    },
    30,
  );
  sizes.set('a', 25);
  for (const name of ['a', 'b']) await models.use(models.find(name), never, async () => undefined);
  assert.deepEqual([...open], ['b']);
});

test('the server is ready once the default model has opened its sessions', async () => {
  const { models, state } = tinyModels(30);
  let finish: () => void = () => undefined;
  state.warmUp = () => new Promise<void>((resolve) => (finish = resolve));
  const warming = models.warm(never);
  await turn();
  assert.equal(models.readiness, 'starting');
  state.warmUp = async () => {
    throw new SrdsError('ENGINE_FAILED', 'a device', 'none', 'wait');
  };
  finish();
  await warming;
  assert.equal(models.readiness, 'ok');
  const failing = tinyModels(30);
  failing.state.warmUp = state.warmUp;
  await assert.rejects(failing.models.warm(never), { code: 'ENGINE_FAILED' });
  assert.equal(failing.models.readiness, 'starting');
});

test('requests are grouped by the model in memory: alternating ones load each model a few times, and none waits for ever', async () => {
  for (const concurrency of [1, 2, 4]) {
    const { models, opened } = tinyModels(10);
    const queue = new Queue(concurrency, 1000);
    const order: string[] = [];
    const ask = async (name: string) => {
      const model = models.find(name);
      const leave = await queue.enter({ key: 'k', priority: 0, place: () => models.place(model), signal: never });
      await models.use(model, never, async () => {
        order.push(name);
        for (let k = 0; k < 3; k++) await turn();
      });
      leave();
    };
    const all: Promise<void>[] = [];
    for (let k = 0; k < 24; k++) {
      all.push(ask('ab'[k % 2]));
      await turn();
    }
    await Promise.all(all);
    assert.ok(opened.length <= 4, `${concurrency}: ${opened.join('')}`);
    // One request for another model among many that never end.
    let ended = false;
    const steady = async () => {
      while (!ended) await ask('a');
    };
    const busy = Array.from({ length: 8 }, steady);
    for (let k = 0; k < 20; k++) await turn();
    const before = order.length;
    await ask('b');
    const waited = order.lastIndexOf('b') - before;
    ended = true;
    await Promise.all(busy);
    assert.ok(waited >= 8 && waited <= 32, `${concurrency}: ${waited}`);
  }
});

test("OpenAI's names mean the default model; other unknown names are refused", () => {
  const { models } = tinyModels(20);
  assert.equal(models.find(undefined).name, 'a');
  assert.equal(models.find('gpt-image-1').name, 'a');
  assert.equal(models.find('dall-e-3').name, 'a');
  assert.equal(models.find('c').name, 'c');
  assert.throws(() => models.find('d'), { status: 404, code: 'model_not_found' });
});
