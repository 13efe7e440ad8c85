import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aligned } from '../../src/cli/table.js';

test('columns are aligned, numbers to the right', () => {
  const rows = [
    ['', 'sampler', 'ms', 'gain'],
    ['', 'serial', '1000', '1.00x'],
    ['->', 'srds with 9 blocks', '90', '11.11x'],
  ];
  assert.deepEqual(aligned(rows).split('\n'), [
    '    sampler               ms    gain',
    '    serial              1000   1.00x',
    '->  srds with 9 blocks    90  11.11x',
  ]);
});
