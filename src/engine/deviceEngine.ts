import { Mutex } from 'async-mutex';
import { SrdsError } from '../errors.js';
import type { GraphFile, GraphInfo } from '../onnx/graphInfo.js';
import type { Tensor } from '../tensor/tensor.js';
import { commonInfo } from './commonInfo.js';
import { areEndpoints, CPU, deviceName, isEndpoint, isProcessor, type Device } from './device.js';
import { Dispatcher, isReady } from './dispatcher.js';
import type { Batch, BatchOptions, BatchResult, Capacity, ConditioningId, DeviceGroup, Engine } from './engine.js';
import type { EngineDevice, EngineState } from './engineDevice.js';
import { freeMemory } from './freeMemory.js';
import type { LocalDevice } from './local/localDevice.js';
import { openProcessors, type ProcessorOptions } from './local/openProcessors.js';
import { RemoteDevice, type EndpointOptions } from './remote/remoteDevice.js';
import { DeviceFailure } from './retry.js';

/** Options of an engine. */
export interface DeviceEngineOptions extends ProcessorOptions {
  /**
   * Devices that share the work: processors of this machine, each with a process of its own, and endpoints of servers; default: the CPU.
   * Endpoints run one graph, `endpoints.graph`. Where no processor is given, the CPU runs the other graphs.
   */
  readonly devices?: readonly Device[] | undefined;
  /** How endpoints are used; needed if there are any. */
  readonly endpoints?: EndpointOptions | undefined;
  /** Multiple of a batch's usual time after which another free device runs it too, and the first result counts; default: never. */
  readonly hedge?: number | undefined;
  /** Graphs to load when the engine opens; default: all. */
  readonly graphs?: readonly string[] | undefined;
  /** Called when a process is replaced, a device continues with smaller batches, or an endpoint fails or returns. */
  readonly onWarning?: ((message: string) => void) | undefined;
  /** Called with the name of a device whose process is replaced. */
  readonly onRestart?: ((device: string) => void) | undefined;
  /** Cancels opening; an open engine ignores it. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * An engine over devices: ONNX Runtime on the processors of this machine, each in a process of its own, and endpoints of servers that speak
 * the Open Inference Protocol. A batch goes to the device with the least load; one that a device fails goes to another. On processors a row
 * of a batch is bitwise equal to the same row alone where ONNX Runtime's kernels make it so: on the CPU for a graph whose layers have
 * multiples of 32 channels, and for narrower UNets with `evenRows`, as tests check; on GPUs within one batch size. Rows of other graphs, and
 * those of endpoints that batch them, may differ by rounding.
 * @example
 * const engine = await DeviceEngine.open({ unet: { path: 'unet/model.onnx', perRow: 'timestep' } });
 * const { outputs } = await engine.run([{ graph: 'unet', output: 'out_sample', inputs }]);
 * await engine.close();
 */
export class DeviceEngine implements Engine {
  readonly device: string;
  private restartCount = 0;
  private registrations = 0;
  private readonly loaded = new Map<string, GraphInfo>();
  private readonly registered = new Map<ConditioningId, Readonly<Record<string, Tensor>>>();
  /** Registered inputs that have not been released. */
  private readonly usable = new Set<ConditioningId>();
  private readonly processors: readonly LocalDevice[];
  /** Their names, as the planner keeps measurements of them. */
  private readonly processorNames: string;
  private readonly endpoints: readonly RemoteDevice[];
  private readonly devices: readonly EngineDevice[];
  /** Whether all processors are CPUs. */
  private readonly isOnCpu: boolean;
  private readonly dispatcher: Dispatcher;
  private readonly onWarning: (message: string) => void;
  /** Batches under way. */
  private readonly running = new Set<Promise<unknown>>();
  private readonly closing = new AbortController();
  /** Loads and frees graphs one call at a time. */
  private readonly changes = new Mutex();

  private constructor(
    private readonly files: Readonly<Record<string, GraphFile>>,
    options: DeviceEngineOptions,
  ) {
    const { devices = [CPU], onWarning = () => undefined, onRestart = () => undefined, hedge } = options;
    if (devices.length === 0)
      throw new SrdsError('INVALID_OPTION', 'a device', 'none', 'give cpu if there is no other');
    const state: EngineState = { files, loaded: this.loaded, registered: this.registered };
    const endpoints = devices.filter(isEndpoint);
    const processors = devices.filter(isProcessor);
    const { endpoints: remote } = options;
    if (endpoints.length > 0 && !remote)
      throw new SrdsError('INVALID_OPTION', 'the graph that endpoints run', 'none', 'give endpoints.graph');
    // Without a processor of its own, the network is loaded nowhere here.
    const elsewhere = areEndpoints(devices) ? remote?.graph : undefined;
    const isNeeded = Object.keys(files).some((name) => name !== elsewhere);
    const own = processors.length === 0 && isNeeded ? [CPU] : processors;
    this.isOnCpu = own.every(({ kind }) => kind === 'cpu');
    this.dispatcher = new Dispatcher({
      hedge,
      closing: this.closing.signal,
      inBackground: (work) => void this.tracked(work).catch(() => undefined),
    });
    this.onWarning = onWarning;
    this.device = devices.map(deviceName).join(',');
    this.processorNames = own.map(deviceName).join(',');
    // Before processes start, which nothing would end if the options of endpoints are wrong.
    this.endpoints = remote ? endpoints.map((one) => new RemoteDevice(one, remote, state, onWarning)) : [];
    const reports = {
      onWarning,
      onRestart: (device: string) => {
        this.restartCount++;
        onRestart(device);
      },
    };
    this.processors = openProcessors(own, options, { state, elsewhere, reports });
    this.devices = [...this.processors, ...this.endpoints];
  }

  /**
   * @param files the graphs' files, by the names that evaluations refer to. The file of a graph that only endpoints run is not read.
   * @throws SrdsError INVALID_OPTION; MODEL_INVALID if ONNX Runtime cannot run a file; DEVICE_UNAVAILABLE if no endpoint can be used, or one
   *   has another network
   */
  static async open(
    files: Readonly<Record<string, GraphFile>>,
    options: DeviceEngineOptions = {},
  ): Promise<DeviceEngine> {
    options.signal?.throwIfAborted();
    const engine = new DeviceEngine(files, options);
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
    return capacityOf(this.ready).slots;
  }

  get available(): boolean {
    const able = this.devices.filter(({ isAvailable }) => isAvailable);
    return able.length > 0 && [...this.loaded.keys()].every((graph) => able.some((device) => device.serves(graph)));
  }

  get maxRows(): number {
    return capacityOf(this.ready).maxRows;
  }

  get buckets(): readonly number[] {
    return capacityOf(this.ready).buckets;
  }

  capacityOf(graph: string): Capacity {
    return capacityOf(this.ready.filter((device) => device.serves(graph)));
  }

  groupsOf(graph: string): readonly DeviceGroup[] {
    const groups = [
      { name: this.processorNames, members: this.processors as readonly EngineDevice[], isRemote: false },
      ...this.endpoints.map((one) => ({ name: `${one.name} ${one.identity}`, members: [one], isRemote: true })),
    ];
    return groups.flatMap(({ name, members, isRemote }) => {
      const devices = members.filter((one) => isReady(one) && one.serves(graph));
      if (devices.length === 0) return [];
      // An endpoint that is out is not waited for: other groups do without it.
      const isWanted = () => devices.some(isReady);
      const run = (batch: Batch) => this.tracked(this.dispatcher.run(devices, batch, { isWanted }));
      const names = devices.map((one) => one.name);
      return [{ name, devices: names, isRemote, graphs: this.loaded, ...capacityOf(devices), run }];
    });
  }

  get restarts(): number {
    return this.restartCount;
  }

  freeMemory(graph: string): number | undefined {
    const isHere = this.processors.some((one) => one.serves(graph));
    return isHere && this.isOnCpu ? freeMemory(this.pids) : undefined;
  }

  /** Ids of the device processes, for monitoring. */
  get pids(): number[] {
    return this.processors.flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  }

  load(names: readonly string[]): Promise<void> {
    return this.changes.runExclusive(async () => {
      const missing = names.filter((name) => !this.loaded.has(name));
      // A lost endpoint says why, or is mended by now.
      const able: readonly EngineDevice[] = [...this.processors.filter(({ isLost }) => !isLost), ...this.endpoints];
      const loading = able.flatMap((device) => {
        const served = missing.filter((name) => device.serves(name));
        return served.length === 0 ? [] : [{ served, reply: device.loadGraphs(served) }];
      });
      const results = await Promise.allSettled(loading.map(({ reply }) => reply));
      const found = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      const infos = missing.map((name) => [name, this.infoOf(name, found)] as const);
      const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []));
      const isComplete = infos.every(([, info]) => info);
      // An endpoint that cannot be reached now may be later, but one with another network is a mistake.
      const mistakes = errors.filter((error) => !(error instanceof DeviceFailure));
      const outages = errors.filter((error) => error instanceof DeviceFailure);
      if (mistakes.length > 0 || !isComplete) {
        await this.free(missing);
        throw mistakes.at(0) ?? (outages.length > 0 ? unavailable(outages[0]) : noDevice(missing));
      }
      for (const { message } of outages) this.onWarning(message);
      for (const [name, info] of infos) if (info) this.loaded.set(name, info);
    });
  }

  unload(names: readonly string[]): Promise<void> {
    return this.changes.runExclusive(async () => {
      for (const name of names) this.loaded.delete(name);
      if (names.length > 0) await this.free(names);
    });
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
    // Batches that were started before may still use it, also on another device.
    void Promise.allSettled([...this.running]).then(() => {
      this.registered.delete(id);
      for (const device of this.devices) device.release(id);
    });
  }

  async run(batch: Batch, options: BatchOptions = {}): Promise<BatchResult> {
    const unknown = batch.flatMap(({ conditioning = [] }) => conditioning).find((id) => !this.usable.has(id));
    if (unknown !== undefined)
      throw new SrdsError('ENGINE_FAILED', 'registered conditioning', unknown, 'report this as a defect');
    const [{ graph }] = batch;
    const devices = this.devices.filter((device) => device.serves(graph));
    if (devices.length === 0) throw noDevice([graph]);
    return this.tracked(this.dispatcher.run(devices, batch, options));
  }

  async close(): Promise<void> {
    this.closing.abort();
    await Promise.all(this.devices.map((device) => device.close()));
  }

  private tracked<Value>(work: Promise<Value>): Promise<Value> {
    this.running.add(work);
    const remove = () => this.running.delete(work);
    work.then(remove, remove);
    return work;
  }

  /** What is known of a graph. */
  private infoOf(name: string, found: readonly Readonly<Record<string, GraphInfo>>[]): GraphInfo | undefined {
    const infos = found.flatMap((one) => (Object.hasOwn(one, name) ? [one[name]] : []));
    return commonInfo(infos, Object.hasOwn(this.files, name) ? this.files[name].perRow : undefined);
  }

  /** Frees graphs on all devices. Failures do not matter: a dead process has freed everything. */
  private async free(graphs: readonly string[]): Promise<void> {
    await Promise.allSettled(this.devices.map((device) => device.unload(graphs)));
  }

  private get ready(): readonly EngineDevice[] {
    return this.devices.filter(isReady);
  }
}

function capacityOf(devices: readonly EngineDevice[]): Capacity {
  return {
    slots: Math.max(
      1,
      devices.reduce((sum, { slots }) => sum + slots, 0),
    ),
    maxRows: Math.max(1, ...devices.map(({ maxRows }) => maxRows)),
    buckets: devices.map(({ buckets }) => buckets).find(({ length }) => length > 0) ?? [],
  };
}

function unavailable({ expected, found, remedy }: SrdsError): SrdsError {
  return new SrdsError('DEVICE_UNAVAILABLE', expected, found, remedy);
}

function noDevice(graphs: readonly string[]): SrdsError {
  const remedy = 'open the engine with its file, or with an endpoint that runs it';
  return new SrdsError('ENGINE_FAILED', `a device that runs ${graphs.join(', ')}`, 'none', remedy);
}
