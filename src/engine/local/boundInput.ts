import { hasBatchAxis, type TensorInfo } from '../../onnx/graphInfo.js';
import { sizeOf } from '../../tensor/tensor.js';
import type { ConditioningId } from '../engine.js';
import { elementBytes, inputData, type BucketSession, type InputData } from '../bucketSession.js';
import { copyConverted, copyRegistered, registeredInput, shapeOf, type Registered, type Row } from './inputData.js';
import type { WireInput } from './protocol.js';
import type { SharedChannel } from './sharedChannel.js';

/** One input of a bucket for all its rows. Its memory is reused for every batch. */
export class BoundInput {
  private readonly data: InputData;
  /** Elements of a row. */
  private readonly size: number;
  /** The registered inputs that each row holds, so that a row that keeps its own is not copied again. */
  private readonly bound: (ConditioningId | undefined)[] = [];

  /**
   * @param dims of a row, without the batch axis
   * @param rows of the bucket
   */
  constructor(
    session: BucketSession,
    readonly info: TensorInfo,
    dims: readonly number[],
    rows: number,
  ) {
    this.data = session.allocate(info.name, info.type, shapeOf(info, dims, rows));
    this.size = sizeOf(dims);
  }

  /**
   * Loads the input of each evaluation from the channel into the evaluation's first row, and repeats it in the others.
   * @param from the first evaluation of the batch that the bucket runs
   */
  load(sent: WireInput, from: number, batchRows: readonly Row[], channel: SharedChannel): void {
    const { info, data, size } = this;
    this.bound.length = 0;
    const rows = hasBatchAxis(info) ? batchRows : batchRows.slice(0, 1);
    const sameType = sent.type === info.type;
    const staged = sameType
      ? data
      : inputData(info.name, sent.type, new ArrayBuffer(data.length * elementBytes(sent.type)));
    const repeats = rows.map(({ evaluation }, row) => row > 0 && rows[row - 1].evaluation === evaluation);
    const pieces = repeats.flatMap((isRepeat, row) =>
      isRepeat ? [] : [staged.subarray(row * size, (row + 1) * size)],
    );
    channel.read(pieces, sent.at + from * size * staged.BYTES_PER_ELEMENT);
    repeats.forEach((isRepeat, row) => {
      if (isRepeat) staged.copyWithin(row * size, (row - 1) * size, row * size);
    });
    if (!sameType) copyConverted(data, 0, staged);
  }

  /** Whether each row holds its registered input. */
  holds(rows: readonly Row[]): boolean {
    return rows.every(({ id }, row) => id !== undefined && this.bound[row] === id);
  }

  /** Copies the registered input of each row, unless the row holds it already. */
  bind(rows: readonly Row[], registered: Registered): void {
    if (this.info.constant) return this.bindConstant(rows, registered);
    rows.forEach(({ id }, row) => {
      if (id !== undefined && this.bound[row] === id) return;
      copyRegistered(this.info.name, id, registered, this.data, row, this.size);
      this.bound[row] = id;
    });
  }

  /** @throws Error if the rows have other values than the first */
  private bindConstant(rows: readonly Row[], registered: Registered): void {
    const { name } = this.info;
    const [first] = rows;
    this.bound.length = 0;
    copyRegistered(name, first.id, registered, this.data, 0, this.size);
    const { data } = registeredInput(name, first.id, registered);
    for (const id of new Set(rows.map((row) => row.id))) {
      const { data: other } = registeredInput(name, id, registered);
      if (other.length !== data.length || other.some((value, k) => value !== data[k])) {
        throw new Error(`rows of ${name} differ, which has no batch axis`);
      }
    }
    rows.forEach(({ id }, row) => (this.bound[row] = id));
  }
}
