import { Tensor as OrtTensor, type InferenceSession } from 'onnxruntime-node';
import { sizeOf, type ElementType, type Tensor } from '../../tensor/tensor.js';
import { isShared, type TensorInfo } from '../../onnx/graphInfo.js';
import { type ConditioningId } from '../engine.js';
import { postprocess, rowsBack, type Wanted } from './gather.js';
import type { SharedChannel } from './sharedChannel.js';
import type { BucketShape } from '../../onnx/prepare.js';
import type { WireBatch, WireInput } from './protocol.js';
import type { SumsBySize } from './sums.js';
import { ROW_INPUT } from '../../onnx/indexedConditioning.js';

/** Registered inputs, by id. */
export type Registered = ReadonlyMap<ConditioningId, Readonly<Record<string, Tensor>>>;

type Numbers = Float32Array | BigInt64Array | Int32Array;

/** One input of a bucket's graph, for all its rows. */
interface Slot {
  readonly info: TensorInfo;
  readonly data: Numbers;
  readonly tensor: OrtTensor;
  /** Numbers of a row. */
  readonly size: number;
  /** The registered inputs in each row, so that those that stay need not be written again. */
  readonly held: (ConditioningId | undefined)[];
}

/**
 * The inputs and output of a graph for batches of one size, in memory that is used again and again. Rows beyond those of a
 * batch hold what an earlier one left there.
 */
export class Bucket {
  readonly rows: number;
  private slots: readonly Slot[] | undefined;
  private readonly tables: IndexedConditioning | undefined;
  private output: OrtTensor | undefined;
  private results = new Float32Array(0);

  /** @param shape that the session was opened for, or that batches are filled up to */
  constructor(
    private readonly session: InferenceSession,
    private readonly inputs: readonly TensorInfo[],
    { rows, tables }: BucketShape,
    private readonly sums: SumsBySize,
  ) {
    this.rows = rows;
    if (tables.length > 0)
      this.tables = new IndexedConditioning(
        inputs.filter(({ name }) => tables.includes(name)),
        rows,
      );
  }

  close(): Promise<void> {
    return this.session.release();
  }

  /**
   * Runs a batch of at most as many rows as the bucket has, and leaves the output in the channel.
   * @param from first evaluation of the batch to be run
   * @param to the one after the last
   * @param position in the channel, in bytes
   */
  async run(
    batch: WireBatch,
    [from, to]: readonly [from: number, to: number],
    registered: Registered,
    channel: SharedChannel,
    position: number,
  ): Promise<{ readonly size: number; readonly seconds: number; readonly end: number }> {
    const rows = batch.conditioning
      .slice(from, to)
      .flatMap((ids, k): Row[] => (ids ?? [undefined]).map((id) => ({ k, id })));
    this.slots ??= this.inputs
      .filter(({ name }) => !this.tables?.names.includes(name))
      .map((info) => this.slot(info, batch, registered));
    for (const slot of this.slots) {
      const sent = batch.inputs.find(({ name }) => name === slot.info.name);
      if (sent) load(slot, sent, from, isShared(slot.info) ? rows.slice(0, 1) : rows, channel);
      else bind(slot, rows, registered);
    }
    const feeds = {
      ...Object.fromEntries(this.slots.map(({ info, tensor }) => [info.name, tensor])),
      ...this.tables?.feeds(rows, registered),
    };

    const start = performance.now();
    const results = this.output
      ? await this.session.run(feeds, { [batch.output]: this.output })
      : await this.session.run(feeds, [batch.output]);
    const seconds = (performance.now() - start) / 1000;

    const { data, type } = (this.output = results[batch.output]);
    if (!(data instanceof Float32Array)) throw new Error(`output ${batch.output} is ${type}, not float32`);
    const size = data.length / this.rows;
    let row = 0;
    const asked = batch.conditioning.slice(from, to).map((ids, k): Wanted => {
      const first = row;
      row += ids?.length ?? 1;
      const { [from + k]: combine } = batch.combine;
      const { [from + k]: sums } = batch.sums;
      return {
        rows: row - first,
        combine: combine ?? undefined,
        sums: sums ? { x: this.inputRow(sums.input, first, size), weights: sums.weights } : undefined,
      };
    });
    const wanted = this.room(asked.reduce((sum, one) => sum + rowsBack(one), 0) * size);
    postprocess(data, size, asked, wanted, this.sums);
    return { size, seconds, end: channel.write([wanted], position) };
  }

  /** @param size of a row of the output, which it must have too */
  private inputRow(name: string, row: number, size: number): Float32Array {
    const slot = this.slots?.find(({ info }) => info.name === name);
    if (!(slot?.data instanceof Float32Array) || slot.size !== size)
      throw new Error(
        `sums of ${name}, which is no float32 input of the output's shape that is sent with the evaluation`,
      );
    return slot.data.subarray(row * slot.size, (row + 1) * slot.size);
  }

  /** Memory for so many numbers, which the next batch will use again. */
  private room(length: number): Float32Array {
    if (this.results.length < length) this.results = new Float32Array(length);
    return this.results.subarray(0, length);
  }

  private slot(info: TensorInfo, batch: WireBatch, registered: Registered): Slot {
    const { name, type } = info;
    const dims = dimsOf(name, batch, registered);
    const shape = isShared(info) ? info.dims.map(() => 1) : [this.rows, ...dims];
    return { info, ...emptyTensor(name, type, shape), size: sizeOf(dims), held: [] };
  }
}

/** A row of a batch: of which evaluation, counted from the first that the bucket runs, and with which registered inputs. */
interface Row {
  readonly k: number;
  readonly id: ConditioningId | undefined;
}

/** Inputs that hold the registered ones of a batch, each once, and the input that says which of them a row has. */
class IndexedConditioning {
  readonly names: readonly string[];
  private held: readonly (ConditioningId | undefined)[] = [];
  private tensors: Readonly<Record<string, OrtTensor>> = {};
  private readonly places: Int32Array;
  private readonly row: OrtTensor;

  constructor(
    private readonly inputs: readonly TensorInfo[],
    rows: number,
  ) {
    this.names = inputs.map(({ name }) => name);
    this.places = new Int32Array(rows);
    this.row = new OrtTensor('int32', this.places, [rows]);
  }

  feeds(rows: readonly Row[], registered: Registered): Readonly<Record<string, OrtTensor>> {
    const ids = [...new Set(rows.map(({ id }) => id))];
    if (ids.length !== this.held.length || ids.some((id) => !this.held.includes(id))) this.fill(ids, registered);
    // What fills up the bucket takes the first.
    this.places.fill(0);
    rows.forEach(({ id }, row) => (this.places[row] = this.held.indexOf(id)));
    return { ...this.tensors, [ROW_INPUT]: this.row };
  }

  private fill(ids: readonly (ConditioningId | undefined)[], registered: Registered): void {
    this.tensors = Object.fromEntries(
      this.inputs.map(({ name, type }) => {
        const { dims } = registeredOf(name, ids[0], registered);
        const { data, tensor } = emptyTensor(name, type, [ids.length, ...dims]);
        ids.forEach((id, place) => putRegistered({ name, data, size: sizeOf(dims) }, place, id, registered));
        return [name, tensor];
      }),
    );
    this.held = ids;
  }
}

/** Fills an input with what the evaluations sent: each once from the channel, into the first of its rows. */
function load(
  { info, data, size }: Slot,
  sent: WireInput,
  from: number,
  rows: readonly Row[],
  channel: SharedChannel,
): void {
  const direct = sent.type === info.type;
  const staged = direct ? data : numbers(sent.type, data.length, info.name);
  const isFirst = ({ k }: Row, row: number) => row === 0 || rows[row - 1].k !== k;
  const pieces = rows.flatMap((one, row) => (isFirst(one, row) ? [staged.subarray(row * size, (row + 1) * size)] : []));
  channel.read(pieces, sent.at + from * size * staged.BYTES_PER_ELEMENT);
  rows.forEach((one, row) => {
    if (!isFirst(one, row)) staged.copyWithin(row * size, (row - 1) * size, row * size);
  });
  if (!direct) put(data, 0, staged);
}

/** Fills an input with registered ones, where others were before. */
function bind({ info, data, size, held }: Slot, rows: readonly Row[], registered: Registered): void {
  rows.forEach(({ id }, row) => {
    if (id !== undefined && held[row] === id) return;
    putRegistered({ name: info.name, data, size }, row, id, registered);
    held[row] = id;
  });
}

/** Puts a registered input into a row. @param size of a row */
function putRegistered(
  { name, data, size }: { readonly name: string; readonly data: Numbers; readonly size: number },
  row: number,
  id: ConditioningId | undefined,
  registered: Registered,
): void {
  const tensor = registeredOf(name, id, registered);
  if (sizeOf(tensor.dims) !== size) throw new Error(`rows of ${name} differ in shape`);
  put(data, row * size, tensor.data);
}

/** Shape of an input without its batch axis. */
export function dimsOf(name: string, batch: WireBatch, registered: Registered): readonly number[] {
  const sent = batch.inputs.find((input) => input.name === name);
  return sent ? sent.dims : registeredOf(name, batch.conditioning[0]?.[0], registered).dims;
}

function registeredOf(name: string, id: ConditioningId | undefined, registered: Registered): Tensor {
  if (id === undefined) throw new Error(`input ${name} was not given`);
  const inputs = registered.get(id);
  if (!inputs) throw new Error(`conditioning ${id} is not registered`);
  if (!(name in inputs)) throw new Error(`input ${name} was not given`);
  return inputs[name];
}

/** A tensor of an input, and its numbers, which are to be filled in. */
function emptyTensor(name: string, type: string, shape: readonly number[]): Pick<Slot, 'data' | 'tensor'> {
  const data = numbers(type, sizeOf(shape), name);
  return { data, tensor: new OrtTensor(type as 'float32', data as Float32Array, shape) };
}

function numbers(type: string, length: number, name: string): Numbers {
  switch (type as ElementType | 'int32') {
    case 'float32':
      return new Float32Array(length);
    case 'int64':
      return new BigInt64Array(length);
    case 'int32':
      return new Int32Array(length);
    default:
      throw new Error(`input ${name} is ${type}; only float32, float16, int32 and int64 inputs can be given`);
  }
}

/** Puts numbers where the graph wants another type, such as timesteps that are whole. */
function put(into: Numbers, at: number, values: Numbers): void {
  if (into instanceof BigInt64Array) {
    into.set(values instanceof BigInt64Array ? values : BigInt64Array.from(values, wholeNumber), at);
  } else if (values instanceof BigInt64Array) {
    if (into instanceof Float32Array) throw new Error('a float32 input was given whole numbers');
    into.set(Int32Array.from(values, Number), at);
  } else {
    into.set(values, at);
  }
}

function wholeNumber(value: number): bigint {
  return BigInt(Math.round(value));
}
