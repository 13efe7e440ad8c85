import { getFloat16, setFloat16 } from '@petamoriken/float16';
import type { OipTensor } from './oipServer.js';

/** The numbers of a tensor of the Open Inference Protocol. */
export function floatsOf({ datatype, bytes }: OipTensor): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const read: Readonly<Record<string, readonly [size: number, at: (position: number) => number]>> = {
    FP16: [2, (at) => getFloat16(view, at, true)],
    FP32: [4, (at) => view.getFloat32(at, true)],
    INT64: [8, (at) => Number(view.getBigInt64(at, true))],
  };
  const [size, at] = read[datatype];
  return Array.from({ length: bytes.length / size }, (_, k) => at(k * size));
}

/** Numbers as half precision, little endian. */
export function float16Bytes(values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(2 * values.length));
  values.forEach((value, k) => setFloat16(view, 2 * k, value, true));
  return new Uint8Array(view.buffer);
}

/** The numbers that memory holds in half precision. */
export function readHalves(memory: ArrayBuffer): Float64Array {
  const view = new DataView(memory);
  return Float64Array.from({ length: memory.byteLength / 2 }, (_, k) => getFloat16(view, 2 * k, true));
}

/** Writes numbers to memory in half precision. */
export function writeHalves(memory: ArrayBuffer, values: ArrayLike<number>): void {
  const view = new DataView(memory);
  for (let k = 0; k < values.length; k++) setFloat16(view, 2 * k, values[k], true);
}
