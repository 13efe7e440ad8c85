import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RWLock } from '../../src/pipeline/rwLock.js';
import { deferred, nextTurn } from '../support/async.js';

/** Work on a lock that starts and ends under the control of the test. */
function jobsOn(lock: RWLock) {
  const started: string[] = [];
  const start = (kind: 'read' | 'write', name: string, signal = new AbortController().signal) => {
    const { promise, resolve, reject } = deferred();
    const work = () => {
      started.push(name);
      return promise;
    };
    return { end: resolve, fail: reject, result: kind === 'read' ? lock.read(work, signal) : lock.write(work) };
  };
  return { started, start };
}

test('readers run together', async () => {
  const { started, start } = jobsOn(new RWLock());
  const [a, b] = [start('read', 'a'), start('read', 'b')];
  await nextTurn();
  assert.deepEqual(started, ['a', 'b']);
  b.end();
  await b.result;
  a.end();
  await a.result;
});

test('writers run alone and in order', async () => {
  const { started, start } = jobsOn(new RWLock());
  const jobs = [
    start('read', 'r1'),
    start('write', 'w1'),
    start('write', 'w2'),
    start('read', 'r2'),
    start('read', 'r3'),
  ];
  const expected = [['r1'], ['r1', 'w1'], ['r1', 'w1', 'w2'], ['r1', 'w1', 'w2', 'r2', 'r3']];
  for (const [k, names] of expected.entries()) {
    await nextTurn();
    assert.deepEqual(started, names);
    jobs[k].end();
    await jobs[k].result;
  }
  jobs[4].end();
  await jobs[4].result;
});

test('work that fails lets the next one run', async () => {
  const { started, start } = jobsOn(new RWLock());
  const jobs = [start('read', 'r1'), start('write', 'w1'), start('write', 'w2'), start('read', 'r2')];
  for (const job of jobs) {
    job.fail(new Error('broken'));
    await assert.rejects(job.result, /broken/);
  }
  assert.deepEqual(started, ['r1', 'w1', 'w2', 'r2']);
});

test('a reader whose signal is aborted does not wait for a writer, and later writers wait for it', async () => {
  const { started, start } = jobsOn(new RWLock());
  const controller = new AbortController();
  const writer = start('write', 'w1');
  const reader = start('read', 'r1', controller.signal);
  await nextTurn();
  assert.deepEqual(started, ['w1']);
  controller.abort();
  await nextTurn();
  assert.deepEqual(started, ['w1', 'r1']);
  const next = start('write', 'w2');
  writer.end();
  await writer.result;
  await nextTurn();
  assert.deepEqual(started, ['w1', 'r1']);
  reader.end();
  await reader.result;
  next.end();
  await next.result;
  assert.deepEqual(started, ['w1', 'r1', 'w2']);
});
