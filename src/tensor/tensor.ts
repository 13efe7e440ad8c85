/** Element types of an engine's inputs and outputs. */
export type ElementType = 'float32' | 'int64';

/** A dense array in C order. `data.length` is the product of `dims`. */
export type Tensor =
  | { readonly type: 'float32'; readonly dims: readonly number[]; readonly data: Float32Array }
  | { readonly type: 'int64'; readonly dims: readonly number[]; readonly data: BigInt64Array };

/** A float32 tensor that shares `data`. @throws RangeError if `data` does not have the size of `dims` */
export function float32(data: Float32Array, dims: readonly number[]): Tensor {
  checkLength(data.length, dims);
  return { type: 'float32', dims, data };
}

/** An int64 tensor with a copy of `values`. @throws RangeError if they do not have the size of `dims` */
export function int64(values: readonly number[], dims: readonly number[]): Tensor {
  checkLength(values.length, dims);
  return { type: 'int64', dims, data: BigInt64Array.from(values, BigInt) };
}

/** Number of elements of a shape; 1 for a scalar, `[]`. */
export function sizeOf(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}

function checkLength(length: number, dims: readonly number[]): void {
  if (length !== sizeOf(dims)) throw new RangeError(`${length} values do not fill the shape [${dims.join(', ')}]`);
}
