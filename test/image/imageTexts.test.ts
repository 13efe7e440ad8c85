import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { imageTexts } from '../../src/image/imageTexts.js';
import { fixture } from '../support/fixtures.js';

/** As test/fixtures/make_image_texts.py has them. */
const PARAMETERS = 'ein grüner Würfel 立方体\nNegative prompt: blur\nSteps: 9, Sampler: Euler, CFG scale: 3, Seed: 7';
const IDEOGRAPHS = '一个立方体\nSteps: 9';
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

test('comments in UTF-16 of either byte order, though the first character looks like one of the other', async () => {
  assert.deepEqual(await textsOf('big.webp'), { parameters: IDEOGRAPHS });
  assert.deepEqual(await textsOf('little.webp'), { parameters: IDEOGRAPHS });
});

test('files that are cut or damaged at any byte give texts or none, and never fail', async () => {
  for (const name of ['compressed.png', 'comment.jpg', 'comment.webp', 'little.webp', 'workflow.webp']) {
    const whole = readFileSync(fixture(`texts/${name}`));
    for (let at = 0; at < whole.length; at++) {
      const damaged = Buffer.from(whole);
      damaged[at] ^= 0xff;
      for (const bytes of [whole.subarray(0, at), damaged]) assert.ok((await imageTexts(bytes)) instanceof Map);
    }
  }
  assert.deepEqual(await imageTexts(new Uint8Array()), new Map());
});

/** A PNG file with nothing but these chunks, whose checksums are not read. */
function pngOf(...chunks: readonly (readonly [type: string, data: Buffer])[]): Buffer {
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const written = chunks.flatMap(([type, data]) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    return [length, Buffer.from(type), data, Buffer.alloc(4)];
  });
  return Buffer.concat([signature, ...written]);
}

const plain = (keyword: string) => ['tEXt', Buffer.from(`${keyword}\0plain`)] as const;
const compressed = (keyword: string, data: Buffer) =>
  ['zTXt', Buffer.concat([Buffer.from(`${keyword}\0\0`), data])] as const;

/** Zlib data whose checksum is wrong. */
function damaged(content: Buffer): Buffer {
  const data = deflateSync(content);
  data[data.length - 1] ^= 0xff;
  return data;
}

test('of compressed texts that unpack to more than 8 MiB in all, those beyond are left out', async () => {
  const large = Buffer.alloc(5 * 2 ** 20, 'a');
  const texts = ['a', 'b', 'c'].map((keyword) => compressed(keyword, deflateSync(large)));
  const read = await imageTexts(pngOf(...texts, compressed('d', deflateSync(Buffer.from('small'))), plain('e')));
  assert.deepEqual(
    [...read].map(([keyword, { length }]) => [keyword, length]),
    [
      ['a', 5 * 2 ** 20],
      ['e', 5],
    ],
  );
  // What damaged texts unpack to counts as well.
  const afterDamaged = [compressed('a', damaged(large)), compressed('b', deflateSync(large)), plain('c')];
  assert.deepEqual([...(await imageTexts(pngOf(...afterDamaged))).keys()], ['c']);
});

test('a compressed text after damaged ones is read, the 64th is the last, and plain ones after it are read', async () => {
  const small = deflateSync(Buffer.from('small'));
  const wrong = Array.from({ length: 62 }, (_, i) =>
    compressed(`wrong ${i}`, i % 2 ? Buffer.from('no zlib data') : damaged(Buffer.from('small'))),
  );
  const file = pngOf(...wrong, ...['a', 'b', 'c'].map((keyword) => compressed(keyword, small)), plain('d'));
  assert.deepEqual(Object.fromEntries(await imageTexts(file)), { a: 'small', b: 'small', d: 'plain' });
});
