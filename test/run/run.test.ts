import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Run } from 'srds/run';
import { nextTurn } from '../support/async.js';

test('many runs share a signal without a warning, and end when it is aborted', async () => {
  const controller = new AbortController();
  const warnings: Error[] = [];
  const warn = (warning: Error) => warnings.push(warning);
  process.on('warning', warn);
  try {
    const runs = Array.from({ length: 30 }, () => {
      const work = (_emit: (event: never) => void, signal: AbortSignal) =>
        new Promise<string>((resolve) => signal.addEventListener('abort', () => resolve('aborted')));
      return new Run(work, controller.signal);
    });
    await nextTurn();
    controller.abort();
    assert.deepEqual(new Set(await Promise.all(runs.map(({ result }) => result))), new Set(['aborted']));
  } finally {
    process.off('warning', warn);
  }
  assert.deepEqual(warnings, []);
});
