import { Tensor as OrtTensor, type InferenceSession } from 'onnxruntime-node';
import { extrapolate } from '../../tensor/operations.js';
import { sizeOf, type ElementType, type Tensor } from '../../tensor/tensor.js';
import { isShared, type ConditioningId, type TensorInfo } from '../engine.js';
import type { Mailbox } from './mailbox.js';
import type { WireBatch, WireInput } from './protocol.js';

/** Registered inputs, by id. */
export type Registered = ReadonlyMap<ConditioningId, Readonly<Record<string, Tensor>>>;

type Numbers = Float32Array | BigInt64Array | Int32Array;

/** One input of a lane's graph, for all its rows. */
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
export class Lane {
  private slots: readonly Slot[] | undefined;
  private output: OrtTensor | undefined;
  private readonly staging = new Map<string, Numbers>();

  /** @param rows of the batches */
  constructor(
    private readonly session: InferenceSession,
    private readonly inputs: readonly TensorInfo[],
    readonly rows: number,
  ) {}

  close(): Promise<void> {
    return this.session.release();
  }

  /**
   * Runs a batch of at most as many rows as the lane has, and leaves the output in the mailbox.
   * @param from first evaluation of the batch to be run
   * @param to the one after the last
   * @param position in the mailbox, in bytes
   */
  async run(
    batch: WireBatch,
    [from, to]: readonly [from: number, to: number],
    registered: Registered,
    mailbox: Mailbox,
    position: number,
  ): Promise<{ readonly size: number; readonly rows: number; readonly seconds: number }> {
    const rows = batch.conditioning.slice(from, to).flatMap((ids, k) => (ids ?? [undefined]).map((id) => ({ k, id })));
    this.slots ??= this.inputs.map((info) => this.slot(info, batch, registered));
    for (const slot of this.slots) this.fill(slot, batch, from, rows, registered, mailbox);
    const feeds = Object.fromEntries(this.slots.map(({ info, tensor }) => [info.name, tensor]));

    const start = performance.now();
    const results = this.output
      ? await this.session.run(feeds, { [batch.output]: this.output })
      : await this.session.run(feeds, [batch.output]);
    const seconds = (performance.now() - start) / 1000;

    const { data, type } = (this.output = results[batch.output]);
    if (!(data instanceof Float32Array)) throw new Error(`output ${batch.output} is ${type}, not float32`);
    const size = data.length / this.rows;
    const kept = combineRows(data, size, batch.conditioning.slice(from, to), batch.combine.slice(from, to));
    mailbox.write(data.subarray(0, kept * size), position);
    return { size, rows: kept, seconds };
  }

  private slot(info: TensorInfo, batch: WireBatch, registered: Registered): Slot {
    const { name, type } = info;
    const dims = dimsOf(name, batch, registered);
    const shape = isShared(info) ? info.dims.map(() => 1) : [this.rows, ...dims];
    const data = numbers(type, sizeOf(shape), name);
    const tensor = new OrtTensor(type as 'float32', data as Float32Array, shape);
    return { info, data, tensor, size: sizeOf(dims), held: [] };
  }

  private fill(
    { info, data, size, held }: Slot,
    batch: WireBatch,
    from: number,
    rows: readonly { readonly k: number; readonly id: ConditioningId | undefined }[],
    registered: Registered,
    mailbox: Mailbox,
  ): void {
    const { name } = info;
    const sent = batch.inputs.find((input) => input.name === name);
    if (sent) {
      const count = (rows.at(-1)?.k ?? 0) + 1;
      const staged = this.stage(sent, from, count, size, mailbox);
      const taken = isShared(info) ? rows.slice(0, 1) : rows;
      taken.forEach(({ k }, row) => put(data, row * size, staged.subarray(k * size, (k + 1) * size)));
      return;
    }
    rows.forEach(({ id }, row) => {
      if (id !== undefined && held[row] === id) return;
      const tensor = registeredOf(name, id, registered);
      if (sizeOf(tensor.dims) !== size) throw new Error(`rows of ${name} differ in shape`);
      put(data, row * size, tensor.data);
      held[row] = id;
    });
  }

  /** What evaluations bring along, as they sent it. */
  private stage(sent: WireInput, from: number, count: number, size: number, mailbox: Mailbox): Numbers {
    const known = this.staging.get(sent.name);
    const staged = known && known.length >= count * size ? known : numbers(sent.type, this.rows * size, sent.name);
    this.staging.set(sent.name, staged);
    const part = staged.subarray(0, count * size);
    mailbox.read(part, sent.at + from * size * part.BYTES_PER_ELEMENT);
    return part;
  }
}

/**
 * Combines the rows of evaluations that ask for it, and closes up what is left.
 * @returns rows that are left
 */
function combineRows(
  data: Float32Array,
  size: number,
  conditioning: WireBatch['conditioning'],
  combine: WireBatch['combine'],
): number {
  let read = 0;
  let kept = 0;
  conditioning.forEach((ids, e) => {
    const rows = ids?.length ?? 1;
    const scale = combine[e];
    const row = (r: number) => data.subarray(r * size, (r + 1) * size);
    const pair = scale !== null && rows === 2;
    if (pair) extrapolate(row(read), row(read + 1), scale);
    const left = pair ? 1 : rows;
    if (kept !== read) data.copyWithin(kept * size, read * size, (read + left) * size);
    kept += left;
    read += rows;
  });
  return kept;
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
