import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isDrawable, nearestSize, type DrawableSizes } from '../../src/server/nearestSize.js';

const FREE = { width: undefined, height: undefined };
const SD15: DrawableSizes = { step: 8, maxSide: 4096, maxPixels: 4 * 512 * 512, fixed: FREE };

test('sizes that clients ask for by default', () => {
  const cases: [size: string, sizes: DrawableSizes, nearest: string][] = [
    ['1024x1024', SD15, '1024x1024'],
    ['1792x1024', SD15, '1352x768'],
    ['1024x1536', SD15, '832x1248'],
    ['1024x1024', { ...SD15, maxPixels: 4 * 128 * 128 }, '256x256'],
    ['1000x1000', SD15, '1000x1000'],
    ['1001x1003', SD15, '1000x1000'],
    ['65x64', { ...SD15, step: 64 }, '64x64'],
    ['3x5', SD15, '8x8'],
    ['10000x10', SD15, '4096x8'],
    ['1024x1024', { ...SD15, fixed: { width: 512, height: 512 } }, '512x512'],
    ['1024x2048', { ...SD15, fixed: { width: 512, height: undefined } }, '512x1024'],
  ];
  for (const [asked, sizes, expected] of cases) {
    const [width, height] = asked.split('x').map(Number);
    const nearest = nearestSize({ width, height }, sizes);
    assert.equal(`${nearest?.width}x${nearest?.height}`, expected, asked);
  }
  assert.equal(nearestSize({ width: 64, height: 64 }, { ...SD15, step: 64, maxPixels: 64 }), undefined);
});

test('the nearest size is drawable, and none has nearer proportions and a nearer area', () => {
  const side = fc.integer({ min: 1, max: 400 });
  const bounds = fc.record({
    step: fc.constantFrom(8, 16),
    maxSide: fc.constantFrom(128, 200),
    maxPixels: fc.constantFrom(1024, 4000, 9000),
  });
  fc.assert(
    fc.property(side, side, bounds, (width, height, { step, maxSide, maxPixels }) => {
      const sizes = { step, maxSide, maxPixels, fixed: FREE };
      const nearest = nearestSize({ width, height }, sizes);
      assert.ok(nearest && isDrawable(nearest, sizes), JSON.stringify(nearest));
      // As large as is allowed, in the same proportions.
      const area = Math.min(width * height, maxPixels, (maxSide / Math.max(width, height)) ** 2 * width * height);
      const proportion = (one: { width: number; height: number }) =>
        Math.abs(Math.log(one.width / one.height) - Math.log(width / height));
      const size = (one: { width: number; height: number }) => Math.abs(Math.log((one.width * one.height) / area));
      for (let w = step; w <= maxSide; w += step) {
        for (let h = step; h <= maxSide && w * h <= maxPixels; h += step) {
          const other = { width: w, height: h };
          const isNearer = proportion(other) < proportion(nearest) - 1e-9 && size(other) < size(nearest) - 1e-9;
          assert.ok(!isNearer, JSON.stringify({ nearest, other }));
        }
      }
    }),
    { numRuns: 300, seed: 1 },
  );
});
