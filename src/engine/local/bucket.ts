import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import type { TensorInfo } from '../../onnx/graphInfo.js';
import type { BucketShape } from '../../onnx/prepare.js';
import { BoundInput } from './boundInput.js';
import { IndexedInputs } from './indexedInputs.js';
import { rowDims, type Registered, type Row } from './inputData.js';
import type { WireBatch } from './protocol.js';
import type { SharedChannel } from './sharedChannel.js';

/**
 * Runs batches of one size. Inputs and output are in memory that every batch reuses; rows beyond those of a batch hold
 * what an earlier batch left there.
 */
export class Bucket {
  readonly rows: number;
  private bound: readonly BoundInput[] | undefined;
  private readonly indexed: IndexedInputs | undefined;
  private output: OrtTensor | undefined;

  /** @param shape that the session was opened for, or that batches are padded to */
  constructor(
    private readonly session: InferenceSession,
    private readonly inputs: readonly TensorInfo[],
    { rows, indexed }: BucketShape,
  ) {
    this.rows = rows;
    if (indexed.length === 0) return;
    const infos = inputs.filter(({ name }) => indexed.includes(name));
    this.indexed = new IndexedInputs(infos, rows);
  }

  close(): Promise<void> {
    return this.session.release();
  }

  /**
   * Runs evaluations `from` to `to` (exclusive) of a batch, at most as many rows as the bucket has, and writes the rows of
   * the output to the channel.
   * @param position in the channel, in bytes
   * @returns size: elements of an output row; seconds inside the network; end: the position after the output
   * @throws Error if an input is missing, or whatever ONNX Runtime reports
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
      .flatMap((ids, evaluation): Row[] => (ids ?? [undefined]).map((id) => ({ evaluation, id })));
    const feeds = this.feeds(batch, from, rows, registered, channel);

    const start = performance.now();
    const results = this.output
      ? await this.session.run(feeds, { [batch.output]: this.output })
      : await this.session.run(feeds, [batch.output]);
    const seconds = (performance.now() - start) / 1000;

    const { data, type } = (this.output = results[batch.output]);
    if (!(data instanceof Float32Array)) throw new Error(`output ${batch.output} is ${type}, not float32`);
    const size = data.length / this.rows;
    return { size, seconds, end: channel.write([data.subarray(0, rows.length * size)], position) };
  }

  private feeds(
    batch: WireBatch,
    from: number,
    rows: readonly Row[],
    registered: Registered,
    channel: SharedChannel,
  ): Readonly<Record<string, OrtTensor>> {
    this.bound ??= this.inputs
      .filter(({ name }) => !this.indexed?.names.includes(name))
      .map((info) => new BoundInput(info, rowDims(info.name, batch, registered), this.rows));
    for (const input of this.bound) {
      const sent = batch.inputs.find(({ name }) => name === input.info.name);
      if (sent) input.load(sent, from, rows, channel);
      else input.bind(rows, registered);
    }
    return {
      ...Object.fromEntries(this.bound.map(({ info, tensor }) => [info.name, tensor])),
      ...this.indexed?.feeds(rows, registered),
    };
  }
}
