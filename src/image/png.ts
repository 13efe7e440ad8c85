import { crc32 } from 'node:zlib';
import { codec } from './codec.js';
import type { RgbImage } from './image.js';

/** Bytes of a PNG's signature and of its IHDR chunk, which must come first. */
const HEAD = 8 + 25;

/**
 * Encodes an image as a PNG file. Texts become `tEXt` chunks if they are Latin-1 and `iTXt` chunks otherwise, as in Pillow.
 * Source: PNG specification, third edition, 11.3.3.
 * @param texts texts by keyword
 * @example
 * await writeFile('image.png', await encodePng({ width, height, data }, { parameters: 'a red ball' }));
 */
export async function encodePng(image: RgbImage, texts: Readonly<Record<string, string>> = {}): Promise<Buffer> {
  const { data, width, height } = image;
  const sharp = await codec();
  const png = await sharp(data, { raw: { width, height, channels: 3 } })
    .png({ compressionLevel: 6 })
    .toBuffer();
  const chunks = Object.entries(texts).map(([keyword, text]) => textChunk(keyword, text));
  return Buffer.concat([png.subarray(0, HEAD), ...chunks, png.subarray(HEAD)]);
}

function textChunk(keyword: string, text: string): Buffer {
  const latin1 = /^[\n\x20-\x7e\xa0-\xff]*$/.test(text);
  return latin1
    ? chunk('tEXt', Buffer.concat([Buffer.from(`${keyword}\0`, 'latin1'), Buffer.from(text, 'latin1')]))
    : chunk('iTXt', Buffer.concat([Buffer.from(`${keyword}\0\0\0\0\0`, 'latin1'), Buffer.from(text, 'utf8')]));
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, checksum]);
}
