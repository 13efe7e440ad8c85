import type { TensorInfo } from '../../onnx/graphInfo.js';
import type { BucketShape } from '../../onnx/prepare.js';
import { outputType, type BucketSession, type OutputType } from '../bucketSession.js';
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
  /** Inputs that were written since the last run that succeeded. */
  private readonly written = new Set<string>();
  private readonly indexed: IndexedInputs | undefined;

  /** @param shape that the session was opened for, or that batches are padded to */
  constructor(
    private readonly session: BucketSession,
    private readonly inputs: readonly TensorInfo[],
    readonly shape: BucketShape,
  ) {
    const { rows, indexed } = shape;
    this.rows = rows;
    if (indexed.length === 0) return;
    const infos = inputs.filter(({ name }) => indexed.includes(name));
    this.indexed = new IndexedInputs(session, infos, rows);
  }

  close(): Promise<void> {
    return this.session.close();
  }

  /**
   * Runs evaluations `from` to `to` (exclusive) of a batch, at most as many rows as the bucket has, and writes the rows of
   * the output to the channel.
   * @param position in the channel, in bytes
   * @returns size: elements of an output row; type: of an element; seconds inside the network; end: the position after the output
   * @throws Error if an input is missing, or whatever ONNX Runtime reports
   */
  async run(
    batch: WireBatch,
    [from, to]: readonly [from: number, to: number],
    registered: Registered,
    channel: SharedChannel,
    position: number,
  ): Promise<{ readonly size: number; readonly type: OutputType; readonly seconds: number; readonly end: number }> {
    const rows = batch.conditioning
      .slice(from, to)
      .flatMap((ids, evaluation): Row[] => (ids ?? [undefined]).map((id) => ({ evaluation, id })));
    this.load(batch, from, rows, registered, channel);
    const start = performance.now();
    const output = await this.session.run(batch.output, this.written);
    this.written.clear();
    const seconds = (performance.now() - start) / 1000;
    const size = output.length / this.rows;
    if (!Number.isInteger(size))
      throw new Error(`output ${batch.output} has ${output.length} values for ${this.rows} rows`);
    const end = channel.write([output.subarray(0, rows.length * size)], position);
    return { size, type: outputType(output), seconds, end };
  }

  /** Writes the inputs. */
  private load(
    batch: WireBatch,
    from: number,
    rows: readonly Row[],
    registered: Registered,
    channel: SharedChannel,
  ): void {
    this.bound ??= this.inputs
      .filter(({ name }) => !this.indexed?.names.includes(name))
      .map((info) => new BoundInput(this.session, info, rowDims(info.name, batch, registered), this.rows));
    this.indexed?.load(rows, registered, this.written);
    for (const input of this.bound) {
      const { name } = input.info;
      const sent = batch.inputs.find((one) => one.name === name);
      if (sent || !input.holds(rows)) this.written.add(name);
      if (sent) input.load(sent, from, rows, channel);
      else input.bind(rows, registered);
    }
  }
}
