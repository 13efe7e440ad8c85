import { availableParallelism } from 'node:os';
import { SrdsError, wholeNumber } from '../../errors.js';
import type { Tensor } from '../../tensor/tensor.js';
import { CPU, deviceName, type Device } from '../device.js';
import type { GraphFile, GraphInfo } from '../../onnx/graphInfo.js';
import type { Batch, BatchResult, ConditioningId, Engine } from '../engine.js';
import { LocalDevice } from './localDevice.js';

/** On a CPU rows of a batch take turns: a few hide the cost of a call, more only delay what is urgent. */
const MAX_CPU_ROWS = 8;
const MAX_WORKERS = 64;
const MAX_THREADS = 1024;
const MAX_BUCKET = 4096;

/** Sizes of batches that GPUs keep sessions for, in rows, where nothing is known of the model on the GPU. */
export const DEFAULT_BUCKETS: readonly number[] = [1, 2, 8, 16, 24, 32, 48, 64, 96, 128];

/** How to run on the devices of this machine. */
export interface LocalEngineOptions {
  /** Work together, each in a process of its own; default: the CPU. */
  readonly devices?: readonly Device[] | undefined;
  /** Threads of each process on the CPU; default: all processors, shared among the processes. */
  readonly threads?: number | undefined;
  /** Processes on the CPU, each with its copy of the graphs; default 1. */
  readonly workers?: number | undefined;
  /**
   * Sizes of batches that sessions are kept for, in rows; a batch is filled up to the next. Results are reproducible for
   * a size: another one computes with other kernels. Default: `DEFAULT_LANES` on GPUs, none on the CPU, where any size will do.
   */
  readonly buckets?: readonly number[] | undefined;
  /** Whether graphs that have buckets are written as GPUs run them best (default), or run as they were exported. */
  readonly fused?: boolean | undefined;
  /** Graphs to load at once; default: all. */
  readonly graphs?: readonly string[] | undefined;
  /** Told when a process is replaced or a device goes on with smaller batches. */
  readonly onWarning?: ((message: string) => void) | undefined;
  /** Gives up opening; an engine that is open pays no heed to it. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * ONNX Runtime on the devices of this machine, each in a process of its own. On the CPU batches are bitwise equal to single
 * rows; on GPUs that holds for each size of batch.
 */
export class LocalEngine implements Engine {
  readonly device: string;
  private registrations = 0;
  private readonly loaded = new Map<string, GraphInfo>();
  private readonly registered = new Map<ConditioningId, Readonly<Record<string, Tensor>>>();
  /** Those that have not been released. */
  private readonly usable = new Set<ConditioningId>();
  private readonly devices: readonly LocalDevice[];
  /** Of graphs that are being loaded or freed: one at a time. */
  private changes: Promise<void> = Promise.resolve();

  private constructor(files: Readonly<Record<string, GraphFile>>, options: LocalEngineOptions) {
    const { devices = [CPU], fused = true, onWarning = () => undefined } = options;
    const workers = wholeNumber('a number of workers', options.workers ?? 1, 1, MAX_WORKERS);
    const shared = Math.max(1, Math.floor(availableParallelism() / workers));
    const threads = wholeNumber('a number of threads', options.threads ?? shared, 1, MAX_THREADS);
    const buckets = options.buckets && checkBuckets(options.buckets);
    if (devices.length === 0)
      throw new SrdsError('INVALID_OPTION', 'a device', 'none', 'give cpu if there is no other');
    const state = { files, loaded: this.loaded, registered: this.registered };
    this.device = devices.map(deviceName).join(',');
    this.devices = devices.flatMap((device) =>
      device.kind === 'cpu'
        ? Array.from({ length: workers }, (_, k) => {
            const name = workers === 1 ? undefined : `${deviceName(device)} ${k + 1}`;
            return new LocalDevice({ device, threads, buckets: buckets ?? [], fused }, state, onWarning, name);
          })
        : [new LocalDevice({ device, threads: 1, buckets: buckets ?? DEFAULT_BUCKETS, fused }, state, onWarning)],
    );
  }

  /**
   * @param files each graph's file, by the name that evaluations will use
   * @throws SrdsError INVALID_OPTION, or MODEL_INVALID if a file is no graph that ONNX Runtime can run
   */
  static async open(
    files: Readonly<Record<string, GraphFile>>,
    options: LocalEngineOptions = {},
  ): Promise<LocalEngine> {
    options.signal?.throwIfAborted();
    const engine = new LocalEngine(files, options);
    const giveUp = () => void engine.close();
    options.signal?.addEventListener('abort', giveUp);
    try {
      await engine.load(options.graphs ?? Object.keys(files));
      options.signal?.throwIfAborted();
      return engine;
    } catch (error) {
      await engine.close();
      options.signal?.throwIfAborted();
      throw error;
    } finally {
      options.signal?.removeEventListener('abort', giveUp);
    }
  }

  get graphs(): ReadonlyMap<string, GraphInfo> {
    return this.loaded;
  }

  get slots(): number {
    return Math.max(1, this.alive.length);
  }

  get maxRows(): number {
    return Math.max(1, ...this.alive.map(({ batchSizes }) => batchSizes.at(-1) ?? MAX_CPU_ROWS));
  }

  get buckets(): readonly number[] {
    return this.alive.map(({ batchSizes }) => batchSizes).find(({ length }) => length > 0) ?? [];
  }

  /** Process ids, for those who supervise. */
  get pids(): number[] {
    return this.devices.flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  }

  load(names: readonly string[]): Promise<void> {
    return this.change(async () => {
      const missing = names.filter((name) => !this.loaded.has(name));
      if (missing.length === 0) return;
      const answers = this.alive.map((device) => device.loadGraphs(missing));
      await Promise.allSettled(answers);
      const [first] = await Promise.all(answers).catch(async (error: unknown) => {
        await this.free(missing);
        throw error;
      });
      for (const [name, info] of Object.entries(first)) this.loaded.set(name, info);
    });
  }

  unload(names: readonly string[]): Promise<void> {
    return this.change(async () => {
      for (const name of names) this.loaded.delete(name);
      if (names.length > 0) await this.free(names);
    });
  }

  /** A process that is gone has freed all. */
  private async free(graphs: readonly string[]): Promise<void> {
    await Promise.allSettled(this.devices.map((device) => device.unload(graphs)));
  }

  private change(make: () => Promise<void>): Promise<void> {
    const changed = this.changes.then(make);
    this.changes = changed.catch(() => undefined);
    return changed;
  }

  register(inputs: Readonly<Record<string, Tensor>>): ConditioningId {
    const id = `conditioning-${this.registrations++}`;
    this.registered.set(id, inputs);
    this.usable.add(id);
    for (const device of this.devices) device.register(id, inputs);
    return id;
  }

  release(id: ConditioningId): void {
    this.usable.delete(id);
    // Batches that were asked for before may use it, on a process that takes another's place too.
    void Promise.all(this.devices.map((device) => device.idle())).then(() => {
      this.registered.delete(id);
      for (const device of this.devices) device.release(id);
    });
  }

  async run(batch: Batch, isWanted = () => true): Promise<BatchResult> {
    const gone = batch.flatMap(({ conditioning = [] }) => conditioning).find((id) => !this.usable.has(id));
    if (gone !== undefined)
      throw new SrdsError('ENGINE_FAILED', 'conditioning that is registered', gone, 'report this as a defect');
    for (;;) {
      const idlest = this.devices.reduce((best, device) => (device.load < best.load ? device : best));
      try {
        return await this.runOn(idlest, batch, isWanted);
      } catch (error) {
        // Another device takes over from one that is lost.
        if (!idlest.lost || this.alive.length === 0 || !isWanted()) throw error;
      }
    }
  }

  /** To open a bucket takes a second: once one device has, the others do, before they need it in a hurry. */
  private async runOn(device: LocalDevice, batch: Batch, isWanted: () => boolean): Promise<BatchResult> {
    if (this.devices.length === 1 || device.hasBucketFor(batch)) return device.run(batch, isWanted);
    const result = await device.openBucket(batch, isWanted);
    for (const other of this.alive.filter((one) => !one.hasBucketFor(batch))) {
      other.openBucket(batch, () => false).catch(() => undefined);
    }
    return result;
  }

  async close(): Promise<void> {
    await Promise.all(this.devices.map((device) => device.close()));
  }

  private get alive(): LocalDevice[] {
    return this.devices.filter(({ lost }) => !lost);
  }
}

function checkBuckets(buckets: readonly number[]): readonly number[] {
  if (buckets.length === 0) throw new SrdsError('INVALID_OPTION', 'a size of batch', 'none', 'give one, such as 2');
  for (const bucket of buckets) wholeNumber('a size of batch in rows', bucket, 1, MAX_BUCKET);
  return [...new Set(buckets)].sort((a, b) => a - b);
}
