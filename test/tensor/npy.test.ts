import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeNpy, encodeNpy } from 'srds/tensor';

test('a .npy file has the header that numpy documents', () => {
  const bytes = encodeNpy(Float32Array.of(1, -2.5), [2, 1]);
  const view = new DataView(bytes.buffer);
  assert.deepEqual([...bytes.subarray(0, 8)], [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
  const length = view.getUint16(8, true);
  assert.equal((10 + length) % 64, 0);
  const header = new TextDecoder().decode(bytes.subarray(10, 10 + length));
  assert.match(header, /^\{'descr': '<f4', 'fortran_order': False, 'shape': \(2, 1\), \} *\n$/);
  assert.deepEqual([view.getFloat32(10 + length, true), view.getFloat32(14 + length, true)], [1, -2.5]);
});

test('a .npy file is read back; other files are refused', () => {
  const data = Float32Array.of(1, -2.5, 0, 4, 5, 6);
  assert.deepEqual(decodeNpy(encodeNpy(data, [2, 3])), { data, dims: [2, 3] });
  assert.throws(() => decodeNpy(new Uint8Array(100)), RangeError);
  assert.throws(() => encodeNpy(data, [2, 2]), RangeError);
});
