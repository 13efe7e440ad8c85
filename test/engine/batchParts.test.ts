import assert from 'node:assert/strict';
import { test } from 'node:test';
import { partsOf, rangesWithin } from '../../src/engine/batchParts.js';

test('ranges hold as many evaluations as the rows allow, and one with more rows stands alone', () => {
  assert.deepEqual(rangesWithin(4, [2, 2, 2]), [
    [0, 2],
    [2, 3],
  ]);
  assert.deepEqual(rangesWithin(2, [1, 3, 1, 1]), [
    [0, 1],
    [1, 2],
    [2, 4],
  ]);
  assert.deepEqual(rangesWithin(Infinity, [2, 2]), [[0, 2]]);
});

test('an evaluation with more rows than a part may have is split into its rows', () => {
  const guided = { graph: 'unet', output: 'out_sample', inputs: {}, conditioning: ['a', 'b'] };
  const rows = (parts: ReturnType<typeof partsOf>) => parts.map((part) => part.map((one) => one.conditioning));
  assert.deepEqual(rows(partsOf([guided, guided, guided], 4)), [
    [
      ['a', 'b'],
      ['a', 'b'],
    ],
    [['a', 'b']],
  ]);
  assert.deepEqual(rows(partsOf([guided], 1)), [[['a']], [['b']]]);
});
