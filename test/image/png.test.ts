import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { encodePng, infotext, toRgb } from 'srds/image';

/** Texts of a PNG by chunk type and keyword, read as the specification says. */
function texts(png: Buffer): Record<string, string> {
  const found: Record<string, string> = {};
  for (let at = 8; at < png.length;) {
    const length = png.readUInt32BE(at);
    const type = png.toString('latin1', at + 4, at + 8);
    const data = png.subarray(at + 8, at + 8 + length);
    const end = data.indexOf(0);
    const keyword = data.toString('latin1', 0, end);
    if (type === 'tEXt') found[`tEXt ${keyword}`] = data.toString('latin1', end + 1);
    if (type === 'iTXt') found[`iTXt ${keyword}`] = data.toString('utf8', end + 5);
    at += 12 + length;
  }
  return found;
}

const image = { width: 5, height: 3, data: Uint8Array.from({ length: 45 }, (_, k) => (k * 37) % 256) };

test('a PNG holds the pixels and the texts, Latin-1 and other', async () => {
  const png = await encodePng(image, { parameters: 'a café\nSteps: 5', other: 'ein Ball 🔴 Ж' });
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  assert.deepEqual([info.width, info.height, info.channels], [5, 3, 3]);
  assert.deepEqual(new Uint8Array(data), image.data);
  assert.deepEqual(texts(png), { 'tEXt parameters': 'a café\nSteps: 5', 'iTXt other': 'ein Ball 🔴 Ж' });
});

test('infotext is read back by the expression that web UIs use', () => {
  const text = infotext('a ball,\nred', 'night', [
    ['Steps', 25],
    ['Seed', '7'],
    ['Note', 'a, "b": c'],
  ]);
  const lines = text.split('\n');
  assert.deepEqual(lines.slice(0, 3), ['a ball,', 'red', 'Negative prompt: night']);
  const pairs = [...lines[3].matchAll(/\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/g)].map(([, k, v]) => [
    k,
    v,
  ]);
  assert.deepEqual(pairs, [
    ['Steps', '25'],
    ['Seed', '7'],
    ['Note', JSON.stringify('a, "b": c')],
  ]);
});

test('decoded values are clamped and rounded to eight bits, planes become pixels', () => {
  const decoded = Float32Array.of(-2, -1, 0, 0.5, 1, 3);
  assert.deepEqual([...toRgb(decoded, 2, 1).data], [0, 128, 255, 0, 191, 255]);
  assert.throws(() => toRgb(decoded, 2, 2), RangeError);
});

test('decoded values next to halves are rounded as diffusers rounds them, in float32', () => {
  // numpy: ((x * 0.5 + 0.5).clip(0, 1) * 255).round() in float32. In float64 each is another number.
  const decoded = [-0.4941176176071167, -0.48627451062202454, -0.4784313440322876, -0.10196075588464737];
  decoded.push(-0.094117671251297, 0.9960784316062927);
  assert.deepEqual([...toRgb(Float32Array.from(decoded), 2, 1).data], [64, 66, 116, 66, 114, 254]);
});
