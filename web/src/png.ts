const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/**
 * The `parameters` text of a PNG file; undefined if the file is no PNG or has no such text.
 * Source: PNG specification, third edition, 11.3.3.
 */
export function parametersIn(file: ArrayBuffer): string | undefined {
  const bytes = new Uint8Array(file);
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte)) return undefined;
  const view = new DataView(file);
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    const text = type === 'tEXt' || type === 'iTXt' ? textOf(data, type) : undefined;
    if (text !== undefined) return text;
    at += 12 + length;
  }
  return undefined;
}

function textOf(data: Uint8Array, type: 'tEXt' | 'iTXt'): string | undefined {
  const end = data.indexOf(0);
  if (String.fromCharCode(...data.subarray(0, Math.max(0, end))) !== 'parameters') return undefined;
  // An iTXt chunk has a compression flag and method, a language and a translated keyword; srds leaves them empty.
  const rest = data.subarray(type === 'tEXt' ? end + 1 : end + 5);
  return new TextDecoder(type === 'tEXt' ? 'latin1' : 'utf-8').decode(rest);
}
