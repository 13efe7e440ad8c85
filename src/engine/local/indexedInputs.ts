import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { TensorInfo } from '../../onnx/graphInfo.js';
import { ROW_INPUT } from '../../onnx/indexedConditioning.js';
import { sizeOf } from '../../tensor/tensor.js';
import type { ConditioningId } from '../engine.js';
import { allocateInput, copyRegistered, registeredInput, type Registered, type Row } from './inputData.js';

/**
 * The registered inputs of a batch, each stored once, and an index that selects one for every row. The rows of a batch
 * usually share one or two, so this sends far less to the device than one copy a row.
 */
export class IndexedInputs {
  readonly names: readonly string[];
  private ids: readonly (ConditioningId | undefined)[] = [];
  private tensors: Readonly<Record<string, OrtTensor>> = {};
  private readonly indices: Int32Array;
  private readonly index: OrtTensor;

  /** @param rows of the bucket */
  constructor(
    private readonly inputs: readonly TensorInfo[],
    rows: number,
  ) {
    this.names = inputs.map(({ name }) => name);
    this.indices = new Int32Array(rows);
    this.index = new OrtTensor('int32', this.indices, [rows]);
  }

  /** The feeds of a batch. @throws Error if an input is not registered, or rows differ in shape */
  feeds(rows: readonly Row[], registered: Registered): Readonly<Record<string, OrtTensor>> {
    const ids = [...new Set(rows.map(({ id }) => id))];
    if (ids.length !== this.ids.length || ids.some((id) => !this.ids.includes(id))) this.fill(ids, registered);
    // Padding rows take the first.
    this.indices.fill(0);
    rows.forEach(({ id }, row) => (this.indices[row] = this.ids.indexOf(id)));
    return { ...this.tensors, [ROW_INPUT]: this.index };
  }

  private fill(ids: readonly (ConditioningId | undefined)[], registered: Registered): void {
    this.tensors = Object.fromEntries(
      this.inputs.map(({ name, type }) => {
        const { dims } = registeredInput(name, ids[0], registered);
        const { data, tensor } = allocateInput(name, type, [ids.length, ...dims]);
        ids.forEach((id, k) => copyRegistered(name, id, registered, data, k, sizeOf(dims)));
        return [name, tensor];
      }),
    );
    this.ids = ids;
  }
}
