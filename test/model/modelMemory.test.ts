import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Engine } from 'srds/engine';
import { readModelFolder } from 'srds/model';
import { ModelMemory } from '../../src/model/modelMemory.js';
import { deferred, nextTurn } from '../support/async.js';
import { fixture } from '../support/fixtures.js';

/** Memory of a model on an engine that only logs what it loads and frees. */
async function memoryOf(lowMemory: boolean) {
  const model = await readModelFolder(fixture('models/sd15'));
  const loaded = new Map<string, { inputs: []; outputs: [] }>();
  const log: string[] = [];
  const engine: Engine = {
    device: 'fake',
    graphs: loaded,
    slots: 1,
    maxRows: 1,
    buckets: [],
    load: async (names) => {
      log.push(`load ${names.join(' ')}`);
      for (const name of names) loaded.set(name, { inputs: [], outputs: [] });
    },
    unload: async (names) => {
      if (names.length > 0) log.push(`unload ${names.join(' ')}`);
      for (const name of names) loaded.delete(name);
    },
    register: () => '',
    release: () => {},
    run: () => Promise.reject(new Error('nothing to run')),
    close: () => Promise.resolve(),
  };
  const memory = new ModelMemory(model, engine, { check: () => void log.push('check') }, lowMemory);
  return { memory, log, loaded };
}

test('with little memory only the graphs in use are loaded', async () => {
  const { memory, log, loaded } = await memoryOf(true);
  assert.ok((await memory.forText()) > 0);
  assert.deepEqual([...loaded.keys()], ['text_encoder']);
  await memory.forSampling(false);
  assert.deepEqual([...loaded.keys()], ['unet', 'vae_decoder']);
  assert.equal(await memory.forSampling(false), 0);
  await memory.forSampling(true);
  assert.deepEqual([...loaded.keys()], ['unet', 'vae_decoder', 'vae_encoder']);
  await memory.forText();
  assert.deepEqual(log, [
    ...['load text_encoder', 'check'],
    ...['unload text_encoder', 'load unet vae_decoder', 'check'],
    ...['load vae_encoder', 'check'],
    ...['unload unet vae_decoder vae_encoder', 'load text_encoder', 'check'],
  ]);
});

test('with enough memory graphs stay loaded', async () => {
  const { memory, log } = await memoryOf(false);
  await memory.forText();
  await memory.forSampling(false);
  assert.equal(await memory.forText(), 0);
  await memory.forSampling(true);
  assert.deepEqual(log, [
    ...['load text_encoder', 'check', 'load unet vae_decoder', 'check', 'load vae_encoder', 'check'],
  ]);
});

test('with little memory runs take turns in order, each for as long as its further work', async () => {
  const { memory } = await memoryOf(true);
  const [first, more, second] = [deferred(), deferred(), deferred()];
  const started: number[] = [];
  const runs = [
    memory.inTurn(async (lastFor) => {
      started.push(1);
      lastFor(more.promise);
      await first.promise;
      return 'one';
    }),
    memory.inTurn(async () => {
      started.push(2);
      await second.promise;
      return 'two';
    }),
    memory.inTurn(async () => {
      started.push(3);
      return 'three';
    }),
  ];
  await nextTurn();
  assert.deepEqual(started, [1]);
  first.resolve();
  assert.equal(await runs[0], 'one');
  await nextTurn();
  assert.deepEqual(started, [1]);
  more.reject(new Error('failed, but ended'));
  await nextTurn();
  assert.deepEqual(started, [1, 2]);
  second.resolve();
  assert.deepEqual(await Promise.all(runs), ['one', 'two', 'three']);
});

test('a run that is aborted or fails ends its turn', async () => {
  const { memory } = await memoryOf(true);
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = memory.inTurn(
    () => new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  );
  const failed = memory.inTurn(async () => {
    throw new Error('broken');
  });
  const last = memory.inTurn(async () => 'last');
  await nextTurn();
  controller.abort();
  await assert.rejects(aborted, { name: 'AbortError' });
  await assert.rejects(failed, /broken/);
  assert.equal(await last, 'last');
});

test('a run that is aborted before its turn ends at once, and the next one has its turn', async () => {
  const { memory } = await memoryOf(true);
  const blocked = deferred();
  const first = memory.inTurn(() => blocked.promise);
  const controller = new AbortController();
  const waiting = memory.inTurn(async () => assert.fail('has no turn'), controller.signal);
  const last = memory.inTurn(async () => 'last');
  controller.abort();
  await assert.rejects(waiting, { name: 'AbortError' });
  blocked.resolve();
  await first;
  assert.equal(await last, 'last');
});

test('with enough memory runs overlap', async () => {
  const { memory } = await memoryOf(false);
  const blocked = deferred();
  const first = memory.inTurn(() => blocked.promise);
  assert.equal(await memory.inTurn(async () => 'second'), 'second');
  blocked.resolve();
  await first;
});
