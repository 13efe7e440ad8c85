import { sizeOf } from './tensor.js';

/**
 * Encodes a float32 array in NumPy's `.npy` format, version 1.0, in C order and little endian. Source: numpy.lib.format.
 * @throws RangeError if `data` does not have the size of `dims`
 * @example
 * await writeFile('latents.npy', encodeNpy(latents, [1, 4, 32, 32]));
 */
export function encodeNpy(data: Float32Array, dims: readonly number[]): Uint8Array {
  if (data.length !== sizeOf(dims)) throw new RangeError(`${data.length} values do not fill [${dims.join(', ')}]`);
  const shape = dims.length === 1 ? `${dims[0]},` : dims.join(', ');
  const dictionary = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape}), }`;
  const prefix = 10; // magic, version and header length
  const total = Math.ceil((prefix + dictionary.length + 1) / 64) * 64;
  const header = dictionary.padEnd(total - prefix - 1) + '\n';

  const bytes = new Uint8Array(total + data.length * 4);
  const view = new DataView(bytes.buffer);
  bytes.set([0x93, ...new TextEncoder().encode('NUMPY'), 1, 0]);
  view.setUint16(8, header.length, true);
  bytes.set(new TextEncoder().encode(header), prefix);
  data.forEach((value, k) => view.setFloat32(total + k * 4, value, true));
  return bytes;
}

/**
 * Decodes a float32 array in NumPy's `.npy` format, in C order.
 * @throws RangeError if the bytes are anything else
 */
export function decodeNpy(bytes: Uint8Array): { readonly data: Float32Array; readonly dims: readonly number[] } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = new TextDecoder('latin1').decode(bytes.subarray(1, 6));
  if (bytes.length < 10 || bytes[0] !== 0x93 || magic !== 'NUMPY') throw new RangeError('no .npy file');
  const start = bytes[6] === 1 ? 10 : 12;
  const end = start + (bytes[6] === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  const header = new TextDecoder('latin1').decode(bytes.subarray(start, end));
  const shape = /'shape': \(([\d, ]*)\)/.exec(header)?.[1];
  if (!header.includes("'descr': '<f4'") || !header.includes("'fortran_order': False") || shape === undefined) {
    throw new RangeError(`an array that is not float32 in C order: ${header.trim()}`);
  }
  const dims = shape.split(',').flatMap((dim) => (dim.trim() ? [Number(dim)] : []));
  if (bytes.length - end !== 4 * sizeOf(dims)) throw new RangeError(`${bytes.length - end} bytes for [${dims.join()}]`);
  return { data: Float32Array.from({ length: sizeOf(dims) }, (_, k) => view.getFloat32(end + 4 * k, true)), dims };
}
