import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { imageTexts } from '../../src/image/imageTexts.js';
import { fixture } from '../support/fixtures.js';

/** As test/fixtures/make_image_texts.py has them. */
const PARAMETERS = 'ein grüner Würfel 立方体\nNegative prompt: blur\nSteps: 9, Sampler: Euler, CFG scale: 3, Seed: 7';
const PROMPT = '{"3": {"class_type": "KSampler", "inputs": {"steps": 9}}}';

async function textsOf(name: string): Promise<unknown> {
  return Object.fromEntries(await imageTexts(readFileSync(fixture(`texts/${name}`))));
}

test('compressed texts of PNG files, and the EXIF data of JPEG and WebP files as web UIs and ComfyUI write it', async () => {
  assert.deepEqual(await textsOf('compressed.png'), { parameters: 'a red ball\nSteps: 9', prompt: PARAMETERS });
  assert.deepEqual(await textsOf('comment.jpg'), { parameters: PARAMETERS });
  assert.deepEqual(await textsOf('comment.webp'), { parameters: PARAMETERS });
  assert.deepEqual(await textsOf('workflow.webp'), { prompt: PROMPT });
});

test('files that are cut or damaged at any byte give texts or none, and never fail', async () => {
  for (const name of ['compressed.png', 'comment.jpg', 'comment.webp', 'workflow.webp']) {
    const whole = readFileSync(fixture(`texts/${name}`));
    for (let at = 0; at < whole.length; at++) {
      const damaged = Buffer.from(whole);
      damaged[at] ^= 0xff;
      for (const bytes of [whole.subarray(0, at), damaged]) assert.ok((await imageTexts(bytes)) instanceof Map);
    }
  }
  assert.deepEqual(await imageTexts(new Uint8Array()), new Map());
});

test('of compressed texts that unpack to more than 8 MiB in all, those beyond are left out', async () => {
  const chunk = (type: string, data: Buffer) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    return Buffer.concat([length, Buffer.from(type), data, Buffer.alloc(4)]);
  };
  const packed = deflateSync(Buffer.alloc(5 * 2 ** 20, 'a'));
  const texts = ['a', 'b', 'c'].map((keyword) => chunk('zTXt', Buffer.concat([Buffer.from(`${keyword}\0\0`), packed])));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const read = await imageTexts(Buffer.concat([signature, ...texts, chunk('tEXt', Buffer.from('d\0plain'))]));
  assert.deepEqual(
    [...read].map(([keyword, { length }]) => [keyword, length]),
    [
      ['a', 5 * 2 ** 20],
      ['d', 5],
    ],
  );
});
