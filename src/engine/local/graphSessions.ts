import type { InferenceSession } from 'onnxruntime-node';
import { messageOf } from '../../errors.js';
import {
  hasBatchAxis,
  isShared,
  maxRows,
  type GraphFile,
  type GraphInfo,
  type TensorInfo,
} from '../../onnx/graphInfo.js';
import { ForeignOperators, gpuOperators, refusedOperator } from '../../onnx/foreignOperators.js';
import { prepareModel, type BucketShape, type PreparedModel } from '../../onnx/prepare.js';
import { sum } from '../../statistics.js';
import { sizeOf } from '../../tensor/tensor.js';
import type { GpuKernels } from '../cuda/kernels/gpuKernels.js';
import type { OrtApi } from '../cuda/ortApi.js';
import { rangesWithin } from '../batchParts.js';
import { outputData, type OutputType } from '../bucketSession.js';
import type { OutputRow } from '../engine.js';
import { Bucket } from './bucket.js';
import type { BucketPool } from './bucketPool.js';
import { CApiFailure, CApiSessions } from './cApiSessions.js';
import { rowDims, shapeOf, type Registered } from './inputData.js';
import { PlainSession } from './plainSession.js';
import type { ProcessSettings, Reply, Slower, WireBatch } from './protocol.js';
import { fileFor, isDeviceFault, isOfGraph, isOutOfMemory, isRefusedCall, openSession } from './session.js';
import { CONTENT_START, type SharedChannel } from './sharedChannel.js';

/** The result of a batch. */
interface BatchOutput extends Omit<Extract<Reply, { kind: 'done' }>, 'kind' | 'hasClosedBuckets'> {
  /** Position after the output rows in the channel, in bytes. */
  readonly end: number;
}

/** A graph of an ONNX file and the sessions that run it, one for each bucket or one for all batch sizes. */
export class GraphSessions {
  readonly info: GraphInfo;
  private buckets: readonly number[];
  /** Those whose outputs need not be compared. */
  private readonly compared = new WeakSet<Bucket>();

  constructor(
    private readonly prepared: PreparedModel,
    private readonly settings: ProcessSettings,
    private readonly file: GraphFile,
    private readonly pool: BucketPool,
    /** The session of all buckets, on devices that take batches of any size. */
    private readonly common: InferenceSession | undefined,
    /** Whether the file is the variant in half precision. */
    isHalfFile: boolean,
    /** Opens buckets over the C API; undefined for plain sessions. */
    private cApi?: CApiSessions,
  ) {
    const { rewrite, fused, rows, values, image } = prepared;
    this.buckets = rows === undefined ? settings.buckets : [rows];
    const precision = isHalfFile ? 'float16' : prepared.precision;
    const most = maxRows(rows, file.evenRows);
    this.info = { ...values, image, rewrite, precision, fused, maxRows: most };
  }

  /**
   * Opens an .onnx file. With buckets, sessions are opened for the first batch of each size.
   * @param pool the open buckets of the process
   * @param api for sessions over the C API
   * @param kernels of this package
   * @throws Error whatever ONNX Runtime reports
   */
  static async open(
    given: GraphFile,
    settings: ProcessSettings,
    pool: BucketPool,
    api?: OrtApi,
    kernels?: Pick<GpuKernels, 'operators'>,
  ): Promise<GraphSessions> {
    const file = fileFor(given, settings);
    const isHalfFile = file.path === given.half;
    const { fused, device, buckets } = settings;
    const hasBuckets = buckets.length > 0;
    const prepared = await prepareModel(file, { kind: device.kind, fused: hasBuckets && fused });
    if (device.kind === 'cpu') checkOperators(prepared);
    const common = hasBuckets ? undefined : await openSession(prepared, settings);
    const { replayed, searches } = file;
    const cApi =
      hasBuckets && api && replayed
        ? await CApiSessions.for(api, prepared, { ...settings, searches }, kernels)
        : undefined;
    return new GraphSessions(prepared, settings, file, pool, common, isHalfFile, cApi);
  }

  /** What it does without, as far as it is known. */
  get slower(): Slower | undefined {
    return this.cApi?.slower;
  }

  /** Frees the memory of all sessions. */
  async close(): Promise<void> {
    await this.pool.close(this, () => true);
    await this.common?.release();
  }

  /**
   * Runs a batch in the smallest bucket that holds it, or in parts if none does, and writes the output to the start of the
   * channel's content. If memory is too small for a bucket, that one and larger ones of the graph are dropped for good; where no smaller one holds
   * an evaluation, buckets that were not used for the longest time are closed instead. If this package's kernels fail, ONNX Runtime's take
   * their place; if the C API fails, plain sessions do.
   * @throws RefusedOperator if an operator of an optimized graph does not take its sizes; Error whatever else ONNX Runtime reports
   */
  async run(
    batch: WireBatch,
    registered: Registered,
    channel: SharedChannel,
  ): Promise<BatchOutput & { readonly hasClosedBuckets: boolean }> {
    const output = await this.runOrFallBack(batch, registered, channel).catch((error: unknown) => {
      const isRefusal = (isOfGraph(error) || isRefusedCall(error)) && !isOutOfMemory(error);
      throw (isRefusal && refusedOperator(this.prepared.optimizedOperators, messageOf(error))) || error;
    });
    return { slower: this.slower, ...output, hasClosedBuckets: this.pool.takeClosed() };
  }

  private async runOrFallBack(batch: WireBatch, registered: Registered, channel: SharedChannel): Promise<BatchOutput> {
    try {
      return await this.runParts(batch, registered, channel);
    } catch (error) {
      // After a fault of the device nothing else can run in this process.
      if (!(error instanceof CApiFailure) || isDeviceFault(error)) throw error;
      // A batch that plain sessions cannot run either says nothing of the others, which keep their buckets.
      if (isOfGraph(error) || isRefusedCall(error)) await this.tryPlain(batch, registered, channel);
      const restore = await this.cApi?.dropKernels(error);
      if (restore) return this.runWithoutKernels(restore, batch, registered, channel);
      const slower = { without: 'CUDA graphs', why: error.message } as const;
      return { ...(await this.runPlain(batch, registered, channel)), slower };
    }
  }

  /** Runs a batch in sessions without this package's kernels, which replace those with them unless they fail too. */
  private async runWithoutKernels(
    restore: () => void,
    batch: WireBatch,
    registered: Registered,
    channel: SharedChannel,
  ): Promise<BatchOutput> {
    await this.close();
    try {
      return await this.runOrFallBack(batch, registered, channel);
    } catch (error) {
      await this.close();
      restore();
      throw error;
    }
  }

  private async runParts(batch: WireBatch, registered: Registered, channel: SharedChannel): Promise<BatchOutput> {
    const rowsOf = rowCounts(batch);
    const parts = rangesWithin(this.buckets.at(-1) ?? Infinity, rowsOf);
    // The output replaces the inputs in the channel, unless later parts still need them.
    const start = parts.length === 1 ? CONTENT_START : endOf(batch);
    let output: BatchOutput = { size: 0, type: 'float32', seconds: 0, rows: 0, end: start };
    for (const part of parts) {
      const rows = this.bucketRows(sum(rowsOf.slice(...part)));
      const done = await this.runPart(
        { rows, most: Math.max(...rowsOf) },
        batch,
        part,
        registered,
        channel,
        output.end,
      );
      if (!done) return { ...(await this.runOrFallBack(batch, registered, channel)), buckets: this.buckets };
      const { size, type, seconds, end } = done;
      output = { size, type, seconds: output.seconds + seconds, rows: output.rows + rows, end };
    }
    return start === CONTENT_START ? output : { ...output, end: moveToStart(channel, start, output.end) };
  }

  /**
   * Runs a part of a batch, in memory that idle buckets give up if need be.
   * @param size rows of its bucket, and of the largest evaluation of the batch
   * @returns undefined if its bucket was dropped for want of memory, so that the batch has other parts
   */
  private async runPart(
    { rows, most }: { readonly rows: number; readonly most: number },
    batch: WireBatch,
    part: readonly [from: number, to: number],
    registered: Registered,
    channel: SharedChannel,
    position: number,
  ): Promise<Awaited<ReturnType<Bucket['run']>> | undefined> {
    const { key, shape } = this.bucketOf(rows, batch, registered);
    for (;;) {
      try {
        const bucket = await this.pool.get(this, key, () => this.openBucket(shape));
        return await this.runIn(bucket, batch, part, registered, channel, position);
      } catch (error) {
        if (this.common || !isOutOfMemory(error)) throw error;
        if (await this.dropBuckets(rows, most)) return undefined;
        if (!(await this.pool.makeRoomFor(this, key))) throw error;
      }
    }
  }

  /**
   * Runs a batch in a bucket. Its first result over the C API is compared: with that of an open bucket of other rows that was compared, which
   * takes a moment, or of a plain session.
   */
  private async runIn(
    bucket: Bucket,
    batch: WireBatch,
    part: readonly [from: number, to: number],
    registered: Registered,
    channel: SharedChannel,
    position: number,
  ): ReturnType<Bucket['run']> {
    const { cApi } = this;
    if (!cApi || this.compared.has(bucket) || (await cApi.isCompared(bucket.shape))) {
      this.compared.add(bucket);
      return bucket.run(batch, part, registered, channel, position);
    }
    // Behind the inputs: plain sessions need them if the check fails.
    const behind = Math.max(position, endOf(batch));
    const runBehind = (one: Bucket, range = part) => runAndRead(one, batch, range, registered, channel, behind);
    const { result, output } = await runBehind(bucket);
    const known = this.comparedBucket(batch, registered);
    const pairs: [OutputRow, OutputRow | undefined][] = [];
    if (known) {
      const counts = rowCounts(batch);
      const rowsBefore = (evaluation: number) => result.size * sum(counts.slice(part[0], evaluation));
      for (const [from, to] of endsWithin(known.rows, counts, part)) {
        const { output: expected } = await runBehind(known, [from, to]);
        pairs.push([output.subarray(rowsBefore(from), rowsBefore(to)), expected]);
      }
    } else pairs.push([output, await this.plainOutput(bucket.shape, runBehind)]);
    await cApi.compare(bucket.shape, pairs);
    this.compared.add(bucket);
    return { ...result, end: channel.write([output], position) };
  }

  /** An open bucket for the batch's shapes that holds each of its evaluations and was compared. */
  private comparedBucket(batch: WireBatch, registered: Registered): Bucket | undefined {
    const most = Math.max(...rowCounts(batch));
    return this.buckets
      .filter((rows) => rows >= most)
      .map((rows) => this.pool.find(this, this.bucketOf(rows, batch, registered).key))
      .find((bucket) => bucket && this.compared.has(bucket));
  }

  /** The output of a plain session; undefined if memory is too small for a second session. */
  private async plainOutput(
    shape: BucketShape,
    run: (bucket: Bucket) => Promise<{ readonly output: OutputRow }>,
  ): Promise<OutputRow | undefined> {
    let plain: Bucket | undefined;
    try {
      plain = await this.openPlainBucket(shape);
      return (await run(plain)).output;
    } catch (error) {
      if (isOutOfMemory(error)) return undefined;
      throw error;
    } finally {
      await plain?.close();
    }
  }

  /** Runs the first part of a batch in a plain session. @throws Error if it cannot run there either; not if memory is short */
  private async tryPlain(batch: WireBatch, registered: Registered, channel: SharedChannel): Promise<void> {
    const counts = rowCounts(batch);
    const [part] = rangesWithin(this.buckets.at(-1) ?? Infinity, counts);
    const { shape } = this.bucketOf(this.bucketRows(sum(counts.slice(...part))), batch, registered);
    await this.plainOutput(shape, (one) => runAndRead(one, batch, part, registered, channel, endOf(batch)));
  }

  /** Runs a batch in plain sessions, which replace those of the C API unless they fail too. */
  private async runPlain(batch: WireBatch, registered: Registered, channel: SharedChannel): Promise<BatchOutput> {
    const { cApi, buckets } = this;
    await this.close();
    this.cApi = undefined;
    try {
      return await this.runParts(batch, registered, channel);
    } catch (error) {
      await this.close();
      this.cApi = cApi;
      this.buckets = buckets;
      throw error;
    }
  }

  /** Rows of the bucket of a batch. */
  private bucketRows(rows: number): number {
    const isPadded = this.common && this.file.evenRows;
    return this.buckets.find((bucket) => bucket >= rows) ?? (isPadded ? rows + (rows % 2) : rows);
  }

  /** The key and the shape of the bucket for a batch. */
  private bucketOf(
    rows: number,
    batch: WireBatch,
    registered: Registered,
  ): { readonly key: string; readonly shape: BucketShape } {
    const dims = this.info.inputs.map((info) =>
      isShared(info) ? info.dims.map(() => 1) : rowDims(info.name, batch, registered),
    );
    // A registered input is sent once a batch, not once a row.
    const isRegistered = (info: TensorInfo) =>
      hasBatchAxis(info) && !batch.inputs.some(({ name }) => name === info.name);
    const canIndex = !this.common && this.prepared.canIndex;
    const indexed = canIndex ? this.info.inputs.filter(isRegistered).map(({ name }) => name) : [];
    const key = `${batch.output} ${rows} ${dims.join(' ')} ${indexed.join(' ')}`;
    return { key, shape: { rows, shapes: this.shapesOf(rows, dims), indexed } };
  }

  /** @param dims of the inputs, without the batch axis */
  private shapesOf(rows: number, dims: readonly (readonly number[])[]): BucketShape['shapes'] {
    return new Map(this.info.inputs.map((info, k) => [info.name, shapeOf(info, dims[k], rows)] as const));
  }

  private async openBucket(shape: BucketShape): Promise<Bucket> {
    if (!this.cApi) return this.openPlainBucket(shape);
    const session = await this.cApi.open(shape);
    try {
      return new Bucket(session, this.info.inputs, shape);
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  private async openPlainBucket(shape: BucketShape): Promise<Bucket> {
    const session = this.common ?? (await openSession(this.prepared, this.settings, shape));
    return new Bucket(new PlainSession(session, session !== this.common), this.info.inputs, shape);
  }

  /**
   * Drops the buckets of so many rows or more, for want of memory.
   * @param most rows of the largest evaluation, which cannot be divided here
   * @returns whether smaller ones hold the evaluations; otherwise nothing is dropped
   */
  private async dropBuckets(rows: number, most: number): Promise<boolean> {
    const smaller = this.buckets.filter((bucket) => bucket < rows);
    if (!smaller.some((bucket) => bucket >= most)) return false;
    this.buckets = smaller;
    await this.pool.close(this, (bucket) => bucket.rows >= rows);
    return true;
  }
}

/** @throws ForeignOperators if a CPU has no kernels for a graph */
function checkOperators({ optimizedOperators }: PreparedModel): void {
  const foreign = gpuOperators(optimizedOperators);
  if (foreign.length > 0) throw new ForeignOperators(`one that was optimized for CUDA (${foreign.join(', ')})`);
}

/** Rows of each evaluation of a batch. */
function rowCounts({ conditioning }: WireBatch): number[] {
  return conditioning.map((ids) => ids?.length ?? 1);
}

/** The first and the last evaluations of a part of a batch, as many as fit in so many rows. @param counts rows of each evaluation */
function endsWithin(
  most: number,
  counts: readonly number[],
  [from, to]: readonly [from: number, to: number],
): (readonly [from: number, to: number])[] {
  const own = counts.slice(from, to);
  const [[, first]] = rangesWithin(most, own);
  const [[, last]] = rangesWithin(most, own.toReversed());
  return first === own.length
    ? [[from, to]]
    : [
        [from, from + first],
        [to - last, to],
      ];
}

/** Runs a part of a batch in a bucket, and reads the output that it wrote to the channel at a position. */
async function runAndRead(
  bucket: Bucket,
  batch: WireBatch,
  part: readonly [from: number, to: number],
  registered: Registered,
  channel: SharedChannel,
  position: number,
): Promise<{ readonly result: Awaited<ReturnType<Bucket['run']>>; readonly output: OutputRow }> {
  const result = await bucket.run(batch, part, registered, channel, position);
  return { result, output: readOutput(channel, position, result) };
}

/** Position after the inputs of a batch in the channel, in bytes. */
function endOf({ inputs, conditioning }: WireBatch): number {
  const ends = inputs.map(({ at, dims, type }) => at + conditioning.length * sizeOf(dims) * (type === 'int64' ? 8 : 4));
  return Math.max(CONTENT_START, ...ends);
}

/** Moves bytes to the start of the channel's content. @returns the position after them */
function moveToStart(channel: SharedChannel, from: number, to: number): number {
  const data = new Uint8Array(to - from);
  channel.read([data], from);
  return channel.write([data], CONTENT_START);
}

/** The output of a bucket that it wrote to the channel at a position. */
function readOutput(
  channel: SharedChannel,
  position: number,
  { type, end }: { readonly type: OutputType; readonly end: number },
): OutputRow {
  const output = outputData(type, new ArrayBuffer(end - position));
  channel.read([output], position);
  return output;
}
