import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { resized } from '../../src/image/image.js';
import { binaryMask, isMask, repaintedShare, subsampled } from '../../src/image/mask.js';
import { fixture } from '../support/fixtures.js';

type Size = readonly [height: number, width: number];

interface Cases {
  readonly images: readonly { from: Size; to: Size; data: string; resized: string }[];
  readonly masks: readonly { from: Size; to: Size; factor: number; data: string; latents: string }[];
}

const cases = JSON.parse(readFileSync(fixture('resized.json'), 'utf8')) as Cases;

function image([height, width]: Size, base64: string) {
  return { height, width, data: new Uint8Array(Buffer.from(base64, 'base64')) };
}

test("images are resized as by Pillow's Lanczos filter, bit for bit", async () => {
  assert.ok(cases.images.length > 5);
  for (const { from, to, data, resized: expected } of cases.images) {
    assert.deepEqual(
      await resized(image(from, data), to[1], to[0]),
      image(to, expected),
      `${from.join()} to ${to.join()}`,
    );
  }
});

test("masks, in colour and grey, become diffusers' masks of latents", async () => {
  assert.ok(cases.masks.length > 3);
  for (const { from, to, factor, data, latents } of cases.masks) {
    const mask = image(from, data);
    assert.ok(isMask(mask));
    const pixels = await binaryMask(mask, to[1], to[0]);
    const { data: expected } = image([to[0] / factor, to[1] / factor], latents);
    assert.deepEqual(subsampled(pixels, to[1], factor), expected, `${from.join()} to ${to.join()}`);
  }
});

test('a mask is white from 128 grey levels on', async () => {
  const grey = { width: 4, height: 1, data: Uint8Array.of(0, 127, 128, 255) };
  assert.deepEqual(await binaryMask(grey, 4, 1), Uint8Array.of(0, 0, 1, 1));
  assert.equal(repaintedShare(await binaryMask(grey, 4, 1)), 0.5);
  assert.equal(repaintedShare(new Uint8Array(4)), 1);
});
