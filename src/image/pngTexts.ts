const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/**
 * The texts of a PNG file by their keywords, without compressed ones; none if the file is no PNG. It runs in browsers too.
 * Source: PNG specification, third edition, 11.3.3.
 */
export function pngTexts(bytes: Uint8Array): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte)) return texts;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const type = latin1(bytes.subarray(at + 4, at + 8));
    const entry = textOf(type, bytes.subarray(at + 8, at + 8 + length));
    if (entry) texts.set(...entry);
    at += 12 + length;
  }
  return texts;
}

function textOf(type: string, data: Uint8Array): [keyword: string, text: string] | undefined {
  const end = data.indexOf(0);
  if (end < 0) return undefined;
  const keyword = latin1(data.subarray(0, end));
  if (type === 'tEXt') return [keyword, latin1(data.subarray(end + 1))];
  const isCompressed = data[end + 1] !== 0;
  if (type !== 'iTXt' || isCompressed) return undefined;
  // The flag and the method of compression, then a language and the keyword in it, each up to a zero.
  const afterLanguage = data.indexOf(0, end + 3) + 1;
  const afterKeyword = data.indexOf(0, afterLanguage) + 1;
  return [keyword, new TextDecoder().decode(data.subarray(afterKeyword))];
}

/** ISO 8859-1, which TextDecoder does not have: it takes that name for windows-1252. */
function latin1(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
}
