import { InferenceSession } from 'onnxruntime-node';
import { messageOf } from '../../errors.js';
import { sizeOf } from '../../tensor/tensor.js';
import type { GraphFile, GraphInfo, TensorInfo } from '../../onnx/graphInfo.js';
import { isShared } from '../../onnx/graphInfo.js';
import { Bucket } from './bucket.js';
import { rowDims, type Registered } from './inputData.js';
import { CONTENTS, type SharedChannel } from './sharedChannel.js';
import { prepareModel, type BucketShape, type PreparedModel } from '../../onnx/prepare.js';
import type { ProcessSettings, Reply, WireBatch } from './protocol.js';
import { providersOf } from './providers.js';

/** What a batch came to. */
interface Done extends Omit<Extract<Reply, { kind: 'done' }>, 'kind'> {
  /** Where the rows of the output end in the channel, in bytes. */
  readonly end: number;
}

/** Sessions of shapes that have not been used for longest are closed when there are more. */
const MAX_BUCKETS = 24;

/** A graph of an ONNX file, and the sessions that run it. */
export class Graph {
  readonly info: GraphInfo;
  private readonly open = new Map<string, Promise<Bucket>>();
  private buckets: readonly number[];

  private constructor(
    private readonly prepared: PreparedModel,
    private readonly settings: ProcessSettings,
    private readonly evenRows: boolean,
    /** The session of all buckets, on devices that take batches of any size. */
    private readonly common: InferenceSession | undefined,
    /** Whether its file is the one in half precision. */
    half: boolean,
    values: Pick<GraphInfo, 'inputs' | 'outputs'>,
  ) {
    this.buckets = settings.buckets;
    const { rewrite, fused } = prepared;
    const precision = half ? 'float16' : prepared.precision;
    this.info = { inputs: values.inputs, outputs: values.outputs, rewrite, precision, fused };
  }

  /** Opens an .onnx file; where there are buckets, sessions come with the first batch of a size. @throws whatever ONNX Runtime says of it */
  static async open(given: GraphFile, settings: ProcessSettings): Promise<Graph> {
    const file = fileFor(given, settings);
    if (settings.buckets.length > 0) {
      const prepared = await prepareModel(file, settings.fused ? { fusedFor: settings.device.kind } : 'inMemory');
      if (prepared.values)
        return new Graph(prepared, settings, false, undefined, file.path === given.half, prepared.values);
    }
    let prepared = await prepareModel(file, 'given');
    let session = await openSession(prepared, settings);
    if (
      [...session.inputMetadata, ...session.outputMetadata].some((value) => value.isTensor && value.type === 'float16')
    ) {
      await session.release();
      prepared = await prepareModel(file, 'inMemory');
      session = await openSession(prepared, settings);
    }
    const values = { inputs: session.inputMetadata.map(describe), outputs: session.outputMetadata.map(describe) };
    return new Graph(prepared, settings, file.evenRows ?? false, session, file.path === given.half, values);
  }

  /** Frees its memory. */
  async close(): Promise<void> {
    const buckets = [...this.open.values()];
    this.open.clear();
    for (const bucket of buckets) await this.closeBucket(await bucket.catch(() => undefined));
    await this.common?.release();
  }

  /**
   * Runs a batch in the smallest bucket that holds it, or in parts if none does. Where memory does not suffice for a bucket, that
   * one and larger ones are given up.
   */
  async run(batch: WireBatch, registered: Registered, channel: SharedChannel): Promise<Done> {
    const rowsOf = batch.conditioning.map((ids) => ids?.length ?? 1);
    // The output takes the inputs' place in the channel: a batch in parts is put behind them.
    const parts = this.parts(rowsOf);
    const start = parts.length === 1 ? CONTENTS : endOf(batch);
    let done: Done = { size: 0, seconds: 0, rows: 0, end: start };
    for (const part of parts) {
      const bucket = await this.bucketFor(sum(rowsOf.slice(...part)), batch, registered);
      try {
        const { size, seconds, end } = await bucket.run(batch, part, registered, channel, done.end);
        done = { size, seconds: done.seconds + seconds, rows: done.rows + bucket.rows, end };
      } catch (error) {
        if (!(await this.giveUp(bucket.rows, error))) throw error;
        return { ...(await this.run(batch, registered, channel)), buckets: this.buckets };
      }
    }
    return start === CONTENTS ? done : { ...done, end: moveDown(channel, start, done.end) };
  }

  /** A batch's evaluations cut into parts that the largest bucket holds. */
  private parts(rowsOf: readonly number[]): [number, number][] {
    const most = this.buckets.at(-1) ?? Infinity;
    const parts: [number, number][] = [];
    let from = 0;
    let rows = 0;
    rowsOf.forEach((count, k) => {
      if (k > from && rows + count > most) {
        parts.push([from, k]);
        [from, rows] = [k, 0];
      }
      rows += count;
    });
    return [...parts, [from, rowsOf.length]];
  }

  private async bucketFor(rows: number, batch: WireBatch, registered: Registered): Promise<Bucket> {
    const size = this.buckets.find((bucket) => bucket >= rows) ?? (this.evenRows ? rows + (rows % 2) : rows);
    const dims = this.info.inputs.map((info) =>
      isShared(info) ? info.dims.map(() => 1) : rowDims(info.name, batch, registered),
    );
    // A registered input is sent once a batch, not once a row.
    const isRegistered = (info: TensorInfo) => !isShared(info) && !batch.inputs.some(({ name }) => name === info.name);
    const canIndex = !this.common && this.prepared.canIndex;
    const indexed = canIndex ? this.info.inputs.filter(isRegistered).map(({ name }) => name) : [];
    const key = `${batch.output} ${size} ${dims.join(' ')} ${indexed.join(' ')}`;
    const known = this.open.get(key);
    this.open.delete(key);
    const bucket = known ?? this.openBucket({ rows: size, shapes: this.shapesOf(size, dims), indexed });
    this.open.set(key, bucket);
    if (!known) await this.closeOldest();
    try {
      return await bucket;
    } catch (error) {
      this.open.delete(key);
      if (!(await this.giveUp(size, error))) throw error;
      return this.bucketFor(Math.min(rows, this.buckets.at(-1) ?? rows), batch, registered);
    }
  }

  /** @param dims of the inputs without their batch axis */
  private shapesOf(rows: number, dims: readonly (readonly number[])[]): BucketShape['shapes'] {
    return new Map(
      this.info.inputs.map((info, k) => [info.name, isShared(info) ? dims[k] : [rows, ...dims[k]]] as const),
    );
  }

  private async openBucket(shape: BucketShape): Promise<Bucket> {
    const session = this.common ?? (await openSession(this.prepared, this.settings, shape));
    return new Bucket(session, this.info.inputs, shape);
  }

  private async closeBucket(bucket: Bucket | undefined): Promise<void> {
    if (!this.common) await bucket?.close();
  }

  private async closeOldest(): Promise<void> {
    const [oldest] = this.open;
    if (this.open.size <= MAX_BUCKETS) return;
    this.open.delete(oldest[0]);
    await this.closeBucket(await oldest[1].catch(() => undefined));
  }

  /** Buckets of so many rows and more, if an error says that memory is short. @returns whether smaller ones are left */
  private async giveUp(rows: number, error: unknown): Promise<boolean> {
    const smaller = this.buckets.filter((bucket) => bucket < rows);
    if (smaller.length === 0 || !isOutOfMemory(error)) return false;
    this.buckets = smaller;
    for (const [key, bucket] of this.open) {
      const opened = await bucket.catch(() => undefined);
      if (opened && opened.rows < rows) continue;
      this.open.delete(key);
      await this.closeBucket(opened);
    }
    return true;
  }
}

/** The file to open on a device: half precision is for GPUs if it is left open. */
function fileFor(given: GraphFile, { device }: ProcessSettings): GraphFile {
  const { half, precision } = given;
  const asItIs = precision === 'auto' && device.kind === 'cpu' ? undefined : precision;
  const wantsHalf = asItIs === 'auto' || asItIs === 'float16';
  return wantsHalf && half !== undefined
    ? { ...given, path: half, precision: undefined }
    : { ...given, precision: asItIs };
}

async function openSession(
  { source, weights }: PreparedModel,
  { device, threads }: ProcessSettings,
  bucket?: BucketShape,
): Promise<InferenceSession> {
  const options: InferenceSession.SessionOptions = {
    executionProviders: providersOf(device),
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 4,
    extra: {
      session: {
        // Threads that wait leave their processor to the other process of the pair, and to other engines.
        'intra_op.allow_spinning': '0',
        ...(weights !== undefined && { model_external_initializers_file_folder_path: weights }),
      },
    },
  };
  const model = source(bucket);
  // The types of `create` tell paths and bytes apart.
  return typeof model === 'string' ? InferenceSession.create(model, options) : InferenceSession.create(model, options);
}

/** What ONNX Runtime and CUDA say when memory is short. */
function isOutOfMemory(error: unknown): boolean {
  return /out of memory|failed to allocate|memoryallocation|alloc_failed|bad_alloc|allocation failed/i.test(
    messageOf(error),
  );
}

function endOf({ inputs, conditioning }: WireBatch): number {
  const ends = inputs.map(({ at, dims, type }) => at + conditioning.length * sizeOf(dims) * (type === 'int64' ? 8 : 4));
  return Math.max(CONTENTS, ...ends);
}

/** @returns where it ends there */
function moveDown(channel: SharedChannel, from: number, to: number): number {
  const data = new Uint8Array(to - from);
  channel.read([data], from);
  return channel.write([data], CONTENTS);
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

function describe(value: InferenceSession.ValueMetadata): TensorInfo {
  return value.isTensor
    ? { name: value.name, type: value.type, dims: value.shape }
    : { name: value.name, type: 'not a tensor', dims: [] };
}
