import { hasBatchAxis, isShared, type TensorInfo } from '../../onnx/graphInfo.js';
import { sizeOf, type Tensor } from '../../tensor/tensor.js';
import type { InputData } from '../bucketSession.js';
import type { ConditioningId } from '../engine.js';
import type { WireBatch } from './protocol.js';

/** The registered inputs, by id. */
export type Registered = ReadonlyMap<ConditioningId, Readonly<Record<string, Tensor>>>;

/** One row of a batch: the evaluation it belongs to, counted from the first that the bucket runs, and its registered inputs. */
export interface Row {
  readonly evaluation: number;
  readonly id: ConditioningId | undefined;
}

/** Copies values, converted to the type of the target. Whole numbers are truncated, as Optimum truncates fractional timesteps. */
export function copyConverted(target: InputData, at: number, values: InputData): void {
  if (target instanceof BigInt64Array) {
    target.set(values instanceof BigInt64Array ? values : BigInt64Array.from(values, truncated), at);
  } else if (values instanceof BigInt64Array) {
    target.set(Float64Array.from(values, Number), at);
  } else {
    target.set(values, at);
  }
}

/**
 * Copies a registered input into a row.
 * @param size elements of a row
 * @throws Error if the input is not registered, or has another size
 */
export function copyRegistered(
  name: string,
  id: ConditioningId | undefined,
  registered: Registered,
  target: InputData,
  row: number,
  size: number,
): void {
  const tensor = registeredInput(name, id, registered);
  if (sizeOf(tensor.dims) !== size) throw new Error(`rows of ${name} differ in shape`);
  copyConverted(target, row * size, tensor.data);
}

/** @throws Error if the input is not registered */
export function registeredInput(name: string, id: ConditioningId | undefined, registered: Registered): Tensor {
  if (id === undefined) throw new Error(`input ${name} was not given`);
  const inputs = registered.get(id);
  if (!inputs) throw new Error(`conditioning ${id} is not registered`);
  if (!(name in inputs)) throw new Error(`input ${name} was not given`);
  return inputs[name];
}

/** Shape of an input without its batch axis. @throws Error if the batch does not give the input */
export function rowDims(name: string, batch: WireBatch, registered: Registered): readonly number[] {
  const sent = batch.inputs.find((input) => input.name === name);
  return sent ? sent.dims : registeredInput(name, batch.conditioning[0]?.[0], registered).dims;
}

/** Shape of an input of a batch. @param dims of a row; unused where one value serves the batch */
export function shapeOf(info: TensorInfo, dims: readonly number[], rows: number): readonly number[] {
  if (isShared(info)) return info.dims.map(() => 1);
  return hasBatchAxis(info) ? [rows, ...dims] : dims;
}

function truncated(value: number): bigint {
  return BigInt(Math.trunc(value));
}
