import { availableParallelism } from 'node:os';
import { Mutex } from 'async-mutex';
import { SrdsError, wholeNumber } from '../../errors.js';
import type { Tensor } from '../../tensor/tensor.js';
import { CPU, deviceName, type Device } from '../device.js';
import type { GraphFile, GraphInfo } from '../../onnx/graphInfo.js';
import type { Batch, BatchResult, ConditioningId, Engine } from '../engine.js';
import { freeMemory } from '../freeMemory.js';
import { LocalDevice, type EngineState } from './localDevice.js';

/** A CPU computes the rows of a batch one after the other: a few hide the cost of a call, more only delay urgent ones. */
const MAX_CPU_ROWS = 8;
const MAX_WORKERS = 64;
const MAX_THREADS = 1024;
const MAX_BUCKET = 4096;

/** Batch sizes, in rows, that GPUs keep sessions for by default. */
export const DEFAULT_BUCKETS: readonly number[] = [1, 2, 8, 16, 24, 32, 48, 64, 96, 128];

/** Options of a local engine. */
export interface LocalEngineOptions {
  /** Devices that share the work, each in a process of its own; default: the CPU. */
  readonly devices?: readonly Device[] | undefined;
  /** Threads of each process on the CPU; default: the number of processors divided by the number of processes. */
  readonly threads?: number | undefined;
  /** Processes on the CPU, each with its copy of the graphs; default 1. */
  readonly workers?: number | undefined;
  /**
   * Batch sizes to keep sessions for, in rows; a batch is padded to the next. Results are reproducible for one size, since
   * another size uses other kernels. Default: `DEFAULT_BUCKETS` on GPUs, none on the CPU, where any size will do.
   */
  readonly buckets?: readonly number[] | undefined;
  /** Whether graphs with buckets are rewritten into faster operators (default), or run as exported. */
  readonly fused?: boolean | undefined;
  /** Whether CUDA devices capture batches as CUDA graphs (default), where the optional package koffi is installed. */
  readonly cudaGraphs?: boolean | undefined;
  /** Graphs to load when the engine opens; default: all. */
  readonly graphs?: readonly string[] | undefined;
  /** Called when a process is replaced or a device continues with smaller batches. */
  readonly onWarning?: ((message: string) => void) | undefined;
  /** Called with the name of a device whose process is replaced. */
  readonly onRestart?: ((device: string) => void) | undefined;
  /** Cancels opening; an open engine ignores it. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * ONNX Runtime on the devices of this machine, each in a process of its own. A row of a batch is bitwise equal to the same row
 * alone where ONNX Runtime's kernels make it so: on the CPU for a graph whose layers have multiples of 32 channels, and for narrower
 * UNets with `evenRows`, as tests check; on GPUs within one batch size. Rows of other graphs may differ by rounding.
 * @example
 * const engine = await LocalEngine.open({ unet: { path: 'unet/model.onnx', perRow: 'timestep' } });
 * const { outputs } = await engine.run([{ graph: 'unet', output: 'out_sample', inputs }]);
 * await engine.close();
 */
export class LocalEngine implements Engine {
  readonly device: string;
  private registrations = 0;
  private readonly loaded = new Map<string, GraphInfo>();
  private readonly registered = new Map<ConditioningId, Readonly<Record<string, Tensor>>>();
  /** Registered inputs that have not been released. */
  private readonly usable = new Set<ConditioningId>();
  private readonly devices: readonly LocalDevice[];
  /** Loads and frees graphs one call at a time. */
  private readonly changes = new Mutex();

  private constructor(files: Readonly<Record<string, GraphFile>>, options: LocalEngineOptions) {
    const {
      devices = [CPU],
      fused = true,
      cudaGraphs = true,
      onWarning = () => undefined,
      onRestart = () => undefined,
    } = options;
    const workers = wholeNumber('a number of workers', options.workers ?? 1, 1, MAX_WORKERS);
    const shared = Math.max(1, Math.floor(availableParallelism() / workers));
    const threads = wholeNumber('a number of threads', options.threads ?? shared, 1, MAX_THREADS);
    const buckets = options.buckets && checkBuckets(options.buckets);
    if (devices.length === 0)
      throw new SrdsError('INVALID_OPTION', 'a device', 'none', 'give cpu if there is no other');
    const reports = { onWarning, onRestart };
    const state: EngineState = { files, loaded: this.loaded, registered: this.registered };
    const gpuSettings = (device: Device) => {
      const cApi = cudaGraphs && device.kind === 'cuda' && process.platform === 'linux';
      return { device, threads: 1, buckets: buckets ?? DEFAULT_BUCKETS, fused, cApi };
    };
    this.device = devices.map(deviceName).join(',');
    this.devices = devices.flatMap((device) =>
      device.kind === 'cpu'
        ? Array.from({ length: workers }, (_, k) => {
            const name = workers === 1 ? undefined : `${deviceName(device)} ${k + 1}`;
            const settings = { device, threads, buckets: buckets ?? [], fused, cApi: false };
            return new LocalDevice(settings, state, reports, name);
          })
        : [new LocalDevice(gpuSettings(device), state, reports)],
    );
  }

  /**
   * @param files the graphs' files, by the names that evaluations refer to
   * @throws SrdsError INVALID_OPTION; MODEL_INVALID if ONNX Runtime cannot run a file
   */
  static async open(
    files: Readonly<Record<string, GraphFile>>,
    options: LocalEngineOptions = {},
  ): Promise<LocalEngine> {
    options.signal?.throwIfAborted();
    const engine = new LocalEngine(files, options);
    const cancel = () => void engine.close();
    options.signal?.addEventListener('abort', cancel);
    try {
      await engine.load(options.graphs ?? Object.keys(files));
      options.signal?.throwIfAborted();
      return engine;
    } catch (error) {
      await engine.close();
      options.signal?.throwIfAborted();
      throw error;
    } finally {
      options.signal?.removeEventListener('abort', cancel);
    }
  }

  get graphs(): ReadonlyMap<string, GraphInfo> {
    return this.loaded;
  }

  get slots(): number {
    return Math.max(1, this.alive.length);
  }

  get available(): boolean {
    return this.devices.some(({ available }) => available);
  }

  get maxRows(): number {
    return Math.max(1, ...this.alive.map(({ batchSizes }) => batchSizes.at(-1) ?? MAX_CPU_ROWS));
  }

  get buckets(): readonly number[] {
    return this.alive.map(({ batchSizes }) => batchSizes).find(({ length }) => length > 0) ?? [];
  }

  freeMemory(): number | undefined {
    return this.device.split(',').every((name) => name === deviceName(CPU)) ? freeMemory() : undefined;
  }

  /** Ids of the device processes, for monitoring. */
  get pids(): number[] {
    return this.devices.flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  }

  load(names: readonly string[]): Promise<void> {
    return this.changes.runExclusive(async () => {
      const missing = names.filter((name) => !this.loaded.has(name));
      if (missing.length === 0) return;
      const replies = this.alive.map((device) => device.loadGraphs(missing));
      await Promise.allSettled(replies);
      const [first] = await Promise.all(replies).catch(async (error: unknown) => {
        await this.free(missing);
        throw error;
      });
      for (const [name, info] of Object.entries(first)) this.loaded.set(name, info);
    });
  }

  unload(names: readonly string[]): Promise<void> {
    return this.changes.runExclusive(async () => {
      for (const name of names) this.loaded.delete(name);
      if (names.length > 0) await this.free(names);
    });
  }

  /** Frees graphs on all devices. Failures do not matter: a dead process has freed everything. */
  private async free(graphs: readonly string[]): Promise<void> {
    await Promise.allSettled(this.devices.map((device) => device.unload(graphs)));
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
    // Earlier batches may still use it, also in a replacement process.
    void Promise.all(this.devices.map((device) => device.idle())).then(() => {
      this.registered.delete(id);
      for (const device of this.devices) device.release(id);
    });
  }

  async run(batch: Batch, isWanted = () => true): Promise<BatchResult> {
    const unknown = batch.flatMap(({ conditioning = [] }) => conditioning).find((id) => !this.usable.has(id));
    if (unknown !== undefined)
      throw new SrdsError('ENGINE_FAILED', 'registered conditioning', unknown, 'report this as a defect');
    for (;;) {
      const leastLoaded = this.devices.reduce((best, device) => (device.load < best.load ? device : best));
      try {
        return await this.runOn(leastLoaded, batch, isWanted);
      } catch (error) {
        // Another device takes over from a lost one.
        if (!leastLoaded.lost || this.alive.length === 0 || !isWanted()) throw error;
      }
    }
  }

  /** Runs a batch on a device. Once one device has opened a bucket, which takes a second, the others open it in the background. */
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
  if (buckets.length === 0) throw new SrdsError('INVALID_OPTION', 'a batch size', 'none', 'give one, such as 2');
  for (const bucket of buckets) wholeNumber('a batch size in rows', bucket, 1, MAX_BUCKET);
  return [...new Set(buckets)].sort((a, b) => a - b);
}
