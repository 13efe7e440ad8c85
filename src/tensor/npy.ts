import { sizeOf } from './tensor.js';

/**
 * A float32 array in NumPy's `.npy` format, version 1.0, C order, little endian.
 * Source: numpy.lib.format.
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
