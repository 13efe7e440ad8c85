import type { TensorInfo } from '../../onnx/graphInfo.js';
import { ROW_INPUT } from '../../onnx/indexedConditioning.js';
import { sizeOf } from '../../tensor/tensor.js';
import type { BucketSession, InputData } from '../bucketSession.js';
import type { ConditioningId } from '../engine.js';
import { copyRegistered, registeredInput, type Registered, type Row } from './inputData.js';

/** Entries of the smallest table: the two rows of a guided evaluation. */
const LEAST_ENTRIES = 2;

/**
 * The registered inputs of a batch in tables with an entry for each that is in use, and an index that selects one for every row. The
 * rows of a batch usually share one or two, so this sends far less to the device than one copy a row.
 */
export class IndexedInputs {
  readonly names: readonly string[];
  /** Entries of the tables. */
  private readonly ids: (ConditioningId | undefined)[] = [];
  private readonly tables = new Map<string, InputData>();
  private capacity = 0;
  private readonly indices: Int32Array;

  /** @param rows of the bucket */
  constructor(
    private readonly session: BucketSession,
    private readonly inputs: readonly TensorInfo[],
    rows: number,
  ) {
    this.names = inputs.map(({ name }) => name);
    this.indices = session.allocate(ROW_INPUT, 'int32', [rows]) as Int32Array;
  }

  /**
   * Writes the inputs of a batch.
   * @param written receives the names of those that changed
   * @throws Error if an input is not registered, or rows differ in shape
   */
  load(rows: readonly Row[], registered: Registered, written: Set<string>): void {
    const ids = [...new Set(rows.map(({ id }) => id))];
    if (!ids.every((id) => this.ids.includes(id))) {
      for (const name of this.names) written.add(name);
      this.fill(ids, registered);
    }
    written.add(ROW_INPUT);
    // Padding rows take the first.
    this.indices.fill(0);
    rows.forEach(({ id }, row) => (this.indices[row] = this.ids.indexOf(id)));
  }

  private fill(ids: readonly (ConditioningId | undefined)[], registered: Registered): void {
    // Whatever fails here, the next batch fills the tables anew.
    this.ids.length = 0;
    if (ids.length > this.capacity) this.grow(ids, registered);
    for (const [name, table] of this.tables) {
      const { dims } = registeredInput(name, ids[0], registered);
      ids.forEach((id, k) => copyRegistered(name, id, registered, table, k, sizeOf(dims)));
    }
    this.ids.push(...ids);
  }

  /** Allocates larger tables: powers of two, since a captured graph is for tables of one size. */
  private grow(ids: readonly (ConditioningId | undefined)[], registered: Registered): void {
    this.capacity = 0;
    this.tables.clear();
    const capacity = Math.max(LEAST_ENTRIES, 2 ** Math.ceil(Math.log2(ids.length)));
    for (const { name, type } of this.inputs) {
      const { dims } = registeredInput(name, ids[0], registered);
      this.tables.set(name, this.session.allocate(name, type, [capacity, ...dims]));
    }
    this.capacity = capacity;
  }
}
