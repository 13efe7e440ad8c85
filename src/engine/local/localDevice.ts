import { statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { Mutex } from 'async-mutex';
import { oneLine, plural, SrdsError, systemCode } from '../../errors.js';
import { brokenGraph, failingGraph, foreignGraph, refusedGraph } from '../../onnx/brokenGraph.js';
import { lacksKernel } from '../../onnx/foreignOperators.js';
import type { GraphFile, GraphInfo } from '../../onnx/graphInfo.js';
import { reasonIn } from '../../onnx/ortMessage.js';
import type { Tensor } from '../../tensor/tensor.js';
import { deviceName } from '../device.js';
import { oomKills } from '../freeMemory.js';
import { batchRows, type Batch, type BatchResult, type ConditioningId } from '../engine.js';
import {
  OPENING_LOAD,
  type DeviceBatchOptions,
  type DeviceReports,
  type EngineDevice,
  type EngineState,
} from '../engineDevice.js';
import { joinedResult, partsOf } from '../batchParts.js';
import { BatchTimes, firstLimit } from './batchTimes.js';
import { DeviceProcess, LESS_MEMORY, OUTLIVES, RUN_AGAIN } from './deviceProcess.js';
import type { ProcessSettings, Reply, Slower } from './protocol.js';
import { SharedChannel } from './sharedChannel.js';
import { readOutputs, writeBatch } from './wireBatch.js';

/** Successive processes that may die without having run a batch. */
const MAX_DEATHS = 3;

/** Rows of a batch that ran out of memory for each row of the next try: every try may cost a process. */
const FEWER_ROWS = 4;

/** A CPU computes the rows of a batch one after the other: a few hide the cost of a call, more only delay urgent ones. */
const MAX_CPU_ROWS = 8;

/** A batch for which memory was too small. Its cause says how that showed. */
class OutOfMemory extends Error {
  /** @param rows of the batch */
  constructor(
    readonly rows: number,
    override readonly cause: SrdsError,
  ) {
    super(cause.message);
  }
}

/**
 * A device that outlives its process: a process that dies is replaced, and its batch runs again, in smaller ones if memory was too
 * small for it.
 */
export class LocalDevice implements EngineDevice {
  /** The process runs one batch at a time. */
  readonly slots = 1;
  readonly name: string;
  private process: DeviceProcess;
  private batchSizes: readonly number[];
  /** The channel holds one batch at a time. */
  private readonly mutex = new Mutex();
  private pending = 0;
  private deaths = 0;
  /** Rows that memory allows at a time, by shape, where it did not suffice for more. */
  private readonly rowLimits = new Map<string, number>();
  /** Keys of the buckets that the process is about to open. */
  private readonly opening = new Set<string>();
  /** Keys of the buckets that have run and are open. The first batch of one opens its session, which takes as long as it takes. */
  private readonly openBuckets = new Set<string>();
  private readonly times: BatchTimes;
  /** What the files of the loaded graphs were like when they were loaded, by path. */
  private readonly stamps = new Map<string, string>();
  /** Whether shared memory was too small for a batch. */
  private isSharedMemoryFull = false;
  /** Whether a process that took another's place does not have all its graphs yet. */
  private isIncomplete = false;
  private closed = false;
  private readonly warned = new Set<Slower['without']>();

  constructor(
    private settings: Omit<ProcessSettings, 'channel'>,
    private readonly state: EngineState,
    /** Name of the graph that it does not run. */
    private readonly elsewhere: string | undefined,
    private readonly reports: DeviceReports,
    name = deviceName(settings.device),
    private readonly countOomKills = oomKills,
  ) {
    this.name = name;
    this.batchSizes = settings.buckets;
    this.times = new BatchTimes(settings.device);
    this.process = new DeviceProcess(settings, undefined, countOomKills);
  }

  get pid(): number | undefined {
    return this.process.pid;
  }

  /** Pending and running batches; opening a bucket, which takes a second, counts as many. Infinite for a lost device. */
  get load(): number {
    return this.isLost ? Infinity : this.pending + OPENING_LOAD * this.opening.size;
  }

  /** Whether the device is closed, or its processes died too often. */
  get isLost(): boolean {
    return this.closed || this.deaths >= MAX_DEATHS;
  }

  get isAvailable(): boolean {
    // A process that died is replaced, whereas one that hangs is still waited for.
    return !this.isLost && (this.process.failure !== undefined || this.process.isResponsive);
  }

  get buckets(): readonly number[] {
    return this.batchSizes;
  }

  get maxRows(): number {
    return this.batchSizes.at(-1) ?? MAX_CPU_ROWS;
  }

  serves(graph: string): boolean {
    return graph !== this.elsewhere;
  }

  /** @throws SrdsError MODEL_INVALID, ENGINE_FAILED */
  loadGraphs(names: readonly string[]): Promise<Readonly<Record<string, GraphInfo>>> {
    return this.mutex.runExclusive(async () => {
      await this.restartIfDead();
      for (const path of names.flatMap((name) => this.pathsOf(name))) this.stamps.set(path, stampOf(path));
      return this.open(names);
    });
  }

  /** Unloads graphs, after the batches before. */
  unload(graphs: readonly string[]): Promise<void> {
    return this.mutex.runExclusive(async () => {
      this.openBuckets.clear();
      await this.process.request({ kind: 'unload', graphs }, firstLimit(this.settings.device));
    });
  }

  register(id: ConditioningId, inputs: Readonly<Record<string, Tensor>>): void {
    this.process.notify({ kind: 'register', id, inputs });
  }

  release(id: ConditioningId): void {
    this.process.notify({ kind: 'release', id });
  }

  /**
   * Runs a batch, again if the process dies meanwhile and the batch is still wanted.
   * @throws SrdsError ENGINE_FAILED if the batch cannot run, memory is too small for it or process after process dies
   */
  run(batch: Batch, { isWanted = () => true }: DeviceBatchOptions): Promise<BatchResult> {
    this.pending++;
    return this.runInTurn(batch, isWanted).finally(() => this.pending--);
  }

  /** Whether the bucket of a batch is open or about to be; always true without buckets. */
  hasBucketFor(batch: Batch): boolean {
    const key = this.bucketKey(batch);
    return this.batchSizes.length === 0 || this.openBuckets.has(key) || this.opening.has(key);
  }

  /** Runs the first batch of a bucket. @throws SrdsError as `run` does */
  async openBucket(batch: Batch, { isWanted = () => true }: DeviceBatchOptions): Promise<BatchResult> {
    const bucket = this.bucketKey(batch);
    this.opening.add(bucket);
    try {
      const result = await this.runInTurn(batch, isWanted);
      // If the batch ran in parts, in smaller ones.
      this.openBuckets.add(bucket);
      return result;
    } finally {
      this.opening.delete(bucket);
    }
  }

  /** Batches of processors are not run twice for want of time: their devices are not shared with others. */
  expectedSeconds(): undefined {
    return undefined;
  }

  async close(): Promise<void> {
    this.closed = true;
    const hasEnded = await this.process.close();
    if (!hasEnded) this.reports.onWarning(`the ${this.name} process ${this.pid} ${OUTLIVES}; it is left to the system`);
  }

  private runInTurn(batch: Batch, isWanted: () => boolean): Promise<BatchResult> {
    return this.mutex.runExclusive(() => this.attempt(batch, isWanted));
  }

  /** The key of a batch's bucket. */
  private bucketKey(batch: Batch, shape = this.shapeKey(batch)): string {
    const rows = batchRows(batch);
    return `${this.batchSizes.find((size) => size >= rows) ?? this.batchSizes.at(-1)} ${shape}`;
  }

  /** What batches of the same shape, whatever their rows, have in common. */
  private shapeKey([{ graph, output, inputs, conditioning }]: Batch): string {
    const registered = conditioning?.length ? this.state.registered.get(conditioning[0]) : undefined;
    return JSON.stringify([graph, output, dimsOf(inputs), dimsOf(registered ?? {})]);
  }

  private async attempt(batch: Batch, isWanted: () => boolean): Promise<BatchResult> {
    const shape = this.shapeKey(batch);
    for (;;) {
      try {
        const results: BatchResult[] = [];
        for (const part of partsOf(batch, this.rowLimit(batch, shape))) results.push(await this.runPart(part, shape));
        return joinedResult(batch, results);
      } catch (error) {
        this.prepareRetry(error, shape);
        if (this.process.failure && !isWanted()) throw this.process.failure;
      }
    }
  }

  /** Rows of a batch at a time: as many as memory allows, and as the graph takes. */
  private rowLimit([{ graph }]: Batch, shape: string): number {
    return Math.min(this.rowLimits.get(shape) ?? Infinity, this.state.loaded.get(graph)?.maxRows ?? Infinity);
  }

  /** Prepares the next try after a failure: with fewer rows if memory was too small. @throws SrdsError if there is no next try */
  private prepareRetry(error: unknown, shape: string): void {
    const { failure } = this.process;
    if (this.isLost) throw error;
    const isLast = failure !== undefined && ++this.deaths >= MAX_DEATHS;
    if (error instanceof OutOfMemory) {
      const fewer = this.fewerRows(error.rows);
      if (fewer === undefined || isLast) throw this.noMemory(error);
      this.rowLimits.set(shape, fewer);
      if (!failure)
        this.reports.onWarning(`${this.name} has no memory for a batch of ${error.rows} rows; ${inBatchesOf(fewer)}`);
    } else {
      if (!failure) throw error;
      if (isLast) throw this.tooManyDeaths(failure);
    }
  }

  /** @throws OutOfMemory; SrdsError ENGINE_FAILED */
  private async runPart(batch: Batch, shape: string): Promise<BatchResult> {
    await this.restartIfDead(shape);
    const { process } = this;
    const rows = batchRows(batch);
    const { wire, end } = await this.inSharedMemory(() => writeBatch(batch, process.channel));
    const bucket = this.bucketKey(batch, shape);
    const isFirst = this.batchSizes.length > 0 && !this.openBuckets.has(bucket);
    const limit = isFirst ? firstLimit(this.settings.device) : this.times.limit(shape, rows);
    const reply = await this.inSharedMemory(() => process.run(wire, end, limit)).catch((error: unknown) => {
      throw process.wasKilled && process.failure ? new OutOfMemory(rows, process.failure) : error;
    });
    if (reply.kind === 'failed') {
      // Which buckets it still has is not known.
      this.openBuckets.clear();
      if (reply.isDeviceFault) await this.leaveFaultyDevice(reply.message);
      if (/ENOSPC/.test(reply.message)) await this.leaveSharedMemory();
    }
    this.deaths = 0;
    if (reply.kind === 'failed' && reply.outOfMemory) throw new OutOfMemory(rows, this.failed(reply, batch));
    if (reply.kind === 'done') {
      if (reply.hasClosedBuckets) this.openBuckets.clear();
      this.times.add(shape, rows, reply.seconds);
      this.openBuckets.add(bucket);
    }
    return this.resultOf(reply, batch, process.channel);
  }

  /** Does work that writes to the channel. */
  private async inSharedMemory<Value>(work: () => Value | Promise<Value>): Promise<Value> {
    try {
      return await work();
    } catch (error) {
      if (systemCode(error) === 'ENOSPC') await this.leaveSharedMemory();
      throw error;
    }
  }

  /** Ends the process, so that the batch runs again in one whose channel is on a disk. @throws SrdsError ENGINE_FAILED */
  private leaveSharedMemory(): Promise<never> {
    this.isSharedMemoryFull = true;
    return this.giveUp('had no space for a batch in shared memory');
  }

  /**
   * Ends the process, whose device fails all further calls; the next one has no kernels of this package, and one after that plain sessions.
   * @throws SrdsError ENGINE_FAILED
   */
  private leaveFaultyDevice(message: string): Promise<never> {
    const { cApi, fused, kernels = true } = this.settings;
    const hasKernels = cApi && fused && kernels;
    if (cApi) this.warnOf({ without: hasKernels ? 'fused kernels' : 'CUDA graphs', why: message });
    this.settings = { ...this.settings, ...(hasKernels ? { kernels: false } : { cApi: false }) };
    return this.giveUp(`lost its device: ${message}`);
  }

  private async giveUp(how: string): Promise<never> {
    await this.process.giveUp(how);
    throw this.process.failure ?? new Error('a process that was ended lives on');
  }

  /** Rows to try after memory was too small for so many; undefined if there are no fewer. */
  private fewerRows(rows: number): number | undefined {
    if (this.batchSizes.length === 0) return rows > 1 ? Math.max(1, Math.floor(rows / FEWER_ROWS)) : undefined;
    const bucket = this.batchSizes.find((size) => size >= rows) ?? this.batchSizes[this.batchSizes.length - 1];
    return this.batchSizes.findLast((size) => size < bucket);
  }

  private noMemory({ rows, cause: { found } }: OutOfMemory): SrdsError {
    const expected = `memory for a batch of ${plural(rows, 'row')} on ${this.name}`;
    return new SrdsError('ENGINE_FAILED', expected, found, LESS_MEMORY);
  }

  private noMemoryFor(path: string, found: string): SrdsError {
    return new SrdsError('ENGINE_FAILED', `memory on ${this.name} to load ${path}`, found, LESS_MEMORY);
  }

  private tooManyDeaths({ found }: SrdsError): SrdsError {
    const remedy = `${RUN_AGAIN}, or on another --device`;
    const all = `${MAX_DEATHS} that died one after the other, the last: ${found}`;
    return new SrdsError('ENGINE_FAILED', `a process on ${this.name} that stays alive`, all, remedy);
  }

  /** Replaces a dead process. @param shape of the batch that runs next */
  private async restartIfDead(shape?: string): Promise<void> {
    const { failure } = this.process;
    if (!failure) return this.isIncomplete ? this.openAgain() : undefined;
    if (this.isLost) throw failure;
    this.checkFiles();
    const limit = shape === undefined ? undefined : this.rowLimits.get(shape);
    const withLess = limit === undefined ? '' : `, perhaps for want of memory; ${inBatchesOf(limit)}`;
    this.reports.onWarning(
      `the ${this.name} process failed, found ${failure.found}${withLess}; another takes its place`,
    );
    this.reports.onRestart(this.name);
    this.process = new DeviceProcess(
      this.settings,
      this.isSharedMemoryFull ? SharedChannel.create([tmpdir()]) : undefined,
      this.countOomKills,
    );
    this.openBuckets.clear();
    await this.openAgain();
  }

  /** Loads in a new process what the last one had. Where it cannot, memory may suffice for the next batch. @throws SrdsError as `open` does */
  private async openAgain(): Promise<void> {
    this.isIncomplete = true;
    await this.open([...this.state.loaded.keys()]);
    for (const [id, inputs] of this.state.registered) this.register(id, inputs);
    this.isIncomplete = false;
  }

  private pathsOf(name: string): string[] {
    const { path, half } = this.state.files[name];
    return half === undefined ? [path] : [path, half];
  }

  /** Checks that a new process would load what the last one had: nothing else knows that the model is another. @throws SrdsError */
  private checkFiles(): void {
    for (const path of [...this.state.loaded.keys()].flatMap((name) => this.pathsOf(name))) {
      if (this.stamps.get(path) === stampOf(path)) continue;
      this.deaths = MAX_DEATHS;
      const expected = `${path} as it was when it was loaded, for the process that takes the place of one that failed`;
      throw new SrdsError('ENGINE_FAILED', expected, 'it changed or gone', 'open the model again');
    }
  }

  private async open(names: readonly string[]): Promise<Readonly<Record<string, GraphInfo>>> {
    const graphs = Object.fromEntries(names.map((name) => [name, this.state.files[name]]));
    const reply = await this.process.request({ kind: 'load', graphs }, firstLimit(this.settings.device));
    if (reply.kind === 'loaded') this.warnOf(reply.slower);
    return this.loadedGraphs(reply, graphs);
  }

  private loadedGraphs(reply: Reply, files: Readonly<Record<string, GraphFile>>): Readonly<Record<string, GraphInfo>> {
    if (reply.kind === 'loaded') return reply.graphs;
    if (reply.kind !== 'unloadable') throw brokenGraph('a graph', reply.kind);
    const { path } = files[reply.graph];
    if (/bad_alloc|failed to allocate/i.test(reply.message)) throw this.noMemoryFor(path, reply.message);
    throw reply.isForeign ? foreignGraph(path, this.name, reply.message) : brokenGraph(path, reasonIn(reply.message));
  }

  private resultOf(reply: Reply, batch: Batch, channel: SharedChannel): BatchResult {
    if (reply.kind !== 'done') throw this.failed(reply, batch);
    if (reply.buckets) {
      this.batchSizes = reply.buckets;
      const largest = this.batchSizes.at(-1);
      this.reports.onWarning(
        `${this.name} has no memory for batches of more than ${largest} rows; it goes on with smaller ones`,
      );
    }
    this.warnOf(reply.slower);
    const outputs = readOutputs(batch, reply, channel);
    return { outputs, seconds: reply.seconds, rows: reply.rows, device: this.name };
  }

  /** Warns, once, of what the device does without. */
  private warnOf(slower: Slower | undefined): void {
    if (!slower || this.warned.has(slower.without)) return;
    this.warned.add(slower.without);
    const { without, why } = slower;
    this.reports.onWarning(`${this.name} runs without ${without}, up to twice as long: ${oneLine(why)}`);
  }

  private failed(reply: Reply, batch: Batch): SrdsError {
    if (reply.kind === 'failed' && (reply.isRefused === true || reply.isOfGraph === true)) {
      const { path } = this.state.files[batch[0].graph];
      if (reply.isRefused) return refusedGraph(path, this.name, reply.message);
      return lacksKernel(reply.message)
        ? foreignGraph(path, this.name, reply.message)
        : failingGraph(path, reply.message);
    }
    return new SrdsError(
      'ENGINE_FAILED',
      `graph ${batch[0].graph} to run on ${this.name}`,
      reply.kind === 'failed' ? reply.message : reply.kind,
      'if the size suits the model and its memory, report this as a defect',
    );
  }
}

/** Differs between versions of a file; empty if there is none. */
function stampOf(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats ? [stats.ino, stats.size, stats.mtimeMs].join(' ') : '';
}

function dimsOf(inputs: Readonly<Record<string, Tensor>>): (readonly number[])[] {
  return Object.values(inputs).map(({ dims }) => dims);
}

function inBatchesOf(rows: number): string {
  return `it goes on with ${rows === 1 ? 'one row' : `at most ${rows} rows`} at a time`;
}
