const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Bytes that the compressed texts of a file may have in all: a small file can hold much more. */
const MAX_INFLATED = 8 * 2 ** 20;

/** Compressed texts of a file that are read. Other programs write a few. */
const MAX_COMPRESSED = 64;

/** Chunks of a file that are looked at. Files of 100 MB have some ten thousand. */
const MAX_CHUNKS = 50_000;

/** A text as a chunk has it. */
interface Chunk {
  readonly keyword: string;
  readonly data: Uint8Array;
  readonly isCompressed: boolean;
  readonly decode: (data: Uint8Array) => string;
}

/** What came of decompression: the content, unless it is damaged or too large, and the bytes that were inflated for it. */
interface Inflated {
  readonly content: Uint8Array | undefined;
  readonly size: number;
}

/**
 * The texts of a PNG file by their keywords; undefined if the file is no PNG. Compressed texts that are damaged, very large or very many are
 * left out.
 * It runs in browsers too.
 * Source: PNG specification, third edition, 11.3.3.
 */
export async function pngTexts(bytes: Uint8Array): Promise<ReadonlyMap<string, string> | undefined> {
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte)) return undefined;
  const texts = new Map<string, string>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let bytesLeft = MAX_INFLATED;
  let chunksLeft = MAX_COMPRESSED;
  let looked = 0;
  for (let at = 8; at + 12 <= bytes.length && looked < MAX_CHUNKS; looked++) {
    const length = view.getUint32(at);
    const type = latin1(bytes.subarray(at + 4, at + 8));
    const chunk = chunkOf(type, bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
    if (!chunk?.isCompressed) {
      if (chunk) texts.set(chunk.keyword, chunk.decode(chunk.data));
    } else if (bytesLeft > 0 && chunksLeft > 0) {
      const { content, size } = await inflate(chunk.data, bytesLeft);
      if (content) texts.set(chunk.keyword, chunk.decode(content));
      bytesLeft -= size;
      chunksLeft--;
    }
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

/** Decompresses zlib data. @param most bytes that the content may have */
async function inflate(data: Uint8Array, most: number): Promise<Inflated> {
  const reader = new Blob([new Uint8Array(data)]).stream().pipeThrough(new DecompressionStream('deflate')).getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for (;;) {
      const { value } = (await reader.read()) as { readonly value?: Uint8Array };
      if (!value) return { content: joined(parts, size), size };
      parts.push(value);
      size += value.length;
      if (size > most) break;
    }
    void reader.cancel();
  } catch {
    // Damaged data are charged for what they inflated to before the damage.
  }
  return { content: undefined, size };
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
