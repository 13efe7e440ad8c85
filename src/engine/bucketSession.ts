import type { OutputRow } from './engine.js';

/** The elements of an input that a session accepts. */
export type InputData = Float32Array | BigInt64Array | Int32Array;

/**
 * A session for batches of one size. Its memory is reused by every batch: the caller writes the inputs there and runs it.
 */
export interface BucketSession {
  /**
   * Allocates the memory of an input, filled with zeros, in place of what it had before.
   * @param shape for all rows
   * @throws Error if elements of this type cannot be given
   */
  allocate(name: string, type: string, shape: readonly number[]): InputData;
  /**
   * Runs the network.
   * @param written names of the inputs that were allocated or written since the last run
   * @returns the output for all rows, valid until the next run
   * @throws Error whatever ONNX Runtime or CUDA reports
   */
  run(output: string, written: ReadonlySet<string>): Promise<OutputRow>;
  close(): Promise<void>;
}

/** @throws Error if elements of this type cannot be given */
export function inputData(name: string, type: string, buffer: ArrayBuffer): InputData {
  switch (type) {
    case 'float32':
      return new Float32Array(buffer);
    case 'int64':
      return new BigInt64Array(buffer);
    case 'int32':
      return new Int32Array(buffer);
    default:
      throw new Error(`input ${name} is ${type}; only float32, float16, int32 and int64 inputs can be given`);
  }
}

/** Types of the elements of outputs, and the arrays that hold them. */
const OUTPUT_ARRAYS = { float32: Float32Array, uint8: Uint8Array };
export type OutputType = keyof typeof OUTPUT_ARRAYS;
export const OUTPUT_TYPES = Object.keys(OUTPUT_ARRAYS) as readonly OutputType[];

/** The elements in the memory of an output. */
export function outputData(type: OutputType, buffer: ArrayBuffer): OutputRow {
  return new OUTPUT_ARRAYS[type](buffer);
}

/** The type of an output's elements. */
export function outputType(data: OutputRow): OutputType {
  return data instanceof Uint8Array ? 'uint8' : 'float32';
}

/** Bytes of an element of types that do not have 4. */
const ELEMENT_BYTES: Readonly<Partial<Record<string, number>>> = { int64: 8, float16: 2, uint8: 1 };

/** Bytes of an element. */
export function elementBytes(type: string): number {
  return ELEMENT_BYTES[type] ?? 4;
}
