import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Generator, Mt19937 } from 'srds/random';
import { reference, references } from '../support/fixtures.js';

function assertClose(actual: Float32Array, expected: Float32Array): void {
  assert.equal(actual.length, expected.length);
  const off = Math.max(...actual.map((value, k) => Math.abs(value - expected[k])));
  assert.ok(off <= 2e-6, `off by ${off}`);
}

for (const name of references('randn')) {
  const seed = BigInt(name.replace('seed_', ''));
  const torch = reference(`randn/${name}`);

  test(`randn equals torch.randn for seed ${seed}`, () => {
    for (const shape of ['1', '15', '16', '17', '1x4x8x8', '2x4x16x16']) {
      const expected = torch.floats(`f32.${shape}`);
      assertClose(new Generator(seed).randn(expected.length), expected);
    }
  });

  test(`successive draws equal torch's for seed ${seed}`, () => {
    const generator = new Generator(seed);
    for (const key of ['0.1', '1.15', '2.16', '3.1', '4.256', '5.17', '6.3']) {
      const expected = torch.floats(`sequence.${key}`);
      assertClose(generator.randn(expected.length), expected);
    }
  });
}

test('only the lowest 32 bits of a seed count, as in torch', () => {
  const randn20 = (seed: number | bigint) => new Generator(seed).randn(20);
  assert.deepEqual(randn20(2n ** 32n), randn20(0));
  assert.deepEqual(randn20(2n ** 63n - 1n), randn20(-1));
  assert.notDeepEqual(randn20(1), randn20(0));
});

test('MT19937 gives the 10000th number that the C++ standard prescribes for seed 5489', () => {
  const bits = new Mt19937(5489);
  for (let k = 1; k < 10_000; k++) bits.uint32();
  assert.equal(bits.uint32(), 4123659995);
});
