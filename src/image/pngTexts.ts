const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Bytes that the compressed texts of a file may have in all: a small file can hold much more. */
const MAX_INFLATED = 8 * 2 ** 20;

/** A text as a chunk has it. */
interface Chunk {
  readonly keyword: string;
  readonly data: Uint8Array;
  readonly isCompressed: boolean;
  readonly decode: (data: Uint8Array) => string;
}

/**
 * The texts of a PNG file by their keywords; none if the file is no PNG. Compressed texts that are damaged or very large are left out.
 * It runs in browsers too.
 * Source: PNG specification, third edition, 11.3.3.
 */
export async function pngTexts(bytes: Uint8Array): Promise<ReadonlyMap<string, string>> {
  const texts = new Map<string, string>();
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte)) return texts;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let left = MAX_INFLATED;
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const type = latin1(bytes.subarray(at + 4, at + 8));
    const chunk = chunkOf(type, bytes.subarray(at + 8, at + 8 + length));
    const content = chunk?.isCompressed ? await inflated(chunk.data, left) : chunk?.data;
    if (chunk && content) texts.set(chunk.keyword, chunk.decode(content));
    if (chunk?.isCompressed) left -= content?.length ?? left;
    at += 12 + length;
  }
  return texts;
}

function chunkOf(type: string, data: Uint8Array): Chunk | undefined {
  const end = data.indexOf(0);
  if (end < 0) return undefined;
  const keyword = latin1(data.subarray(0, end));
  if (type === 'tEXt') return { keyword, data: data.subarray(end + 1), isCompressed: false, decode: latin1 };
  // A byte names the method of compression, of which there is one.
  if (type === 'zTXt') return { keyword, data: data.subarray(end + 2), isCompressed: true, decode: latin1 };
  if (type !== 'iTXt') return undefined;
  // The flag and the method of compression, then a language and the keyword in it, each up to a zero.
  const afterLanguage = data.indexOf(0, end + 3) + 1;
  const afterKeyword = data.indexOf(0, afterLanguage) + 1;
  const decode = (content: Uint8Array) => new TextDecoder().decode(content);
  return { keyword, data: data.subarray(afterKeyword), isCompressed: data[end + 1] !== 0, decode };
}

/** The content of zlib data; undefined if it is damaged or has more than `most` bytes. */
async function inflated(data: Uint8Array, most: number): Promise<Uint8Array | undefined> {
  const reader = new Blob([new Uint8Array(data)]).stream().pipeThrough(new DecompressionStream('deflate')).getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for (;;) {
      const { value } = (await reader.read()) as { readonly value?: Uint8Array };
      if (!value) return joined(parts, size);
      parts.push(value);
      size += value.length;
      if (size > most) return void reader.cancel();
    }
  } catch {
    return undefined;
  }
}

function joined(parts: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** ISO 8859-1, which TextDecoder does not have: it takes that name for windows-1252. */
function latin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
