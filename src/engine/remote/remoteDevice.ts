import { setMaxListeners } from 'node:events';
import pLimit, { type LimitFunction } from 'p-limit';
import { messageOf, oneLine, plural, SrdsError, wholeNumber } from '../../errors.js';
import { isShared, type GraphFile, type GraphInfo, type TensorInfo } from '../../onnx/graphInfo.js';
import { joinedResult, partsOf } from '../batchParts.js';
import { batchRows, rowsOf, type Batch, type BatchResult } from '../engine.js';
import type { DeviceBatchOptions, EngineDevice, EngineState } from '../engineDevice.js';
import { DeviceFailure, type FailureKind } from '../retry.js';
import { BatchingChoice, type Batching } from './batching.js';
import { endpointName, type Endpoint } from './endpoint.js';
import { EndpointHealth } from './endpointHealth.js';
import { LatencyRecord } from './latencyRecord.js';
import { Misfit, remoteModel, type RemoteModel } from './modelInterface.js';
import { MalformedAnswer } from './oip.js';
import { OipClient, OipError, type Connection, type OipFailure } from './oipClient.js';
import { OIP_REMEDIES } from './oipRemedies.js';
import { priorityLevel } from './priorityLevel.js';
import { answerBytes, answerRows, requestTensors, UnsuitableBatch } from './remoteBatch.js';

/** How an engine uses endpoints. */
export interface EndpointOptions extends Connection {
  /** The graph that they run. */
  readonly graph: string;
  /** Inputs of the graph's file, by their names in evaluations; an endpoint whose inputs have other lengths is refused. */
  readonly inputs?: readonly TensorInfo[] | undefined;
  /** Batches that each endpoint runs at once; default: as many as its server has instances of the model, if it says so, or 1. */
  readonly inFlight?: number | undefined;
  /**
   * How the rows of a batch are sent: `explicit`, in one request; `single`, in one each, which the server makes batches of; `auto` (default):
   * as is faster, measured where the server makes batches of requests.
   */
  readonly batching?: Batching | 'auto' | undefined;
}

const MAX_IN_FLIGHT = 256;
const PROBE_MS = 5000;

/** The kind of an endpoint's failure, by that of the request. */
const KINDS: Readonly<Record<OipFailure, FailureKind>> = {
  unreachable: 'unavailable',
  untrusted: 'unavailable',
  timeout: 'unavailable',
  busy: 'busy',
  denied: 'lost',
  missing: 'lost',
  refused: 'faulty',
  failed: 'faulty',
  malformed: 'faulty',
};
const OTHER_MODEL = 'name an endpoint that serves the network of this model; srds doctor --device shows what it serves';

/**
 * The network of one server as a device. Requests share connections that are kept alive. An endpoint that fails is out until a probe finds it
 * ready; what it ran may run again elsewhere.
 */
export class RemoteDevice implements EngineDevice {
  readonly name: string;
  readonly buckets: readonly number[] = [];
  private readonly client: OipClient;
  private readonly health = new EndpointHealth();
  private readonly latencies = new LatencyRecord();
  private readonly closing = new AbortController();
  private model: RemoteModel | undefined;
  private batching: BatchingChoice;
  private limit: LimitFunction = pLimit(1);
  private pending = 0;
  private lastUse = 0;
  private probing: NodeJS.Timeout | undefined;
  /** Why it is out. */
  private problem: SrdsError | undefined;

  constructor(
    endpoint: Endpoint,
    private readonly options: EndpointOptions,
    private readonly state: EngineState,
    private readonly onWarning: (message: string) => void,
  ) {
    if (options.inFlight !== undefined)
      wholeNumber('a number of batches in flight', options.inFlight, 1, MAX_IN_FLIGHT);
    this.name = endpointName(endpoint);
    // Each request listens to it.
    setMaxListeners(0, this.closing.signal);
    this.client = new OipClient(endpoint, options);
    this.batching = new BatchingChoice(options.batching ?? 'auto', false);
  }

  get slots(): number {
    return this.options.inFlight ?? Math.min(MAX_IN_FLIGHT, Math.max(1, this.model?.instances ?? 1));
  }

  get maxRows(): number {
    return this.model?.maxRows ?? 1;
  }

  get load(): number {
    return this.isLost || !this.model || !this.health.isUp ? Infinity : this.pending / this.slots;
  }

  get isLost(): boolean {
    return this.isClosed || (!this.health.isUp && this.problem !== undefined && isLasting(this.problem));
  }

  get isAvailable(): boolean {
    return this.load < Infinity;
  }

  /** What measurements of the endpoint depend on, besides its name. */
  get identity(): string {
    return JSON.stringify([this.model?.identity, this.slots, this.options.batching]);
  }

  serves(graph: string): boolean {
    return graph === this.options.graph;
  }

  async loadGraphs(): Promise<Readonly<Record<string, GraphInfo>>> {
    if (this.isClosed) throw this.closed();
    try {
      const { info } = await this.connect();
      this.comeBack();
      return { [this.options.graph]: info };
    } catch (error) {
      if (error instanceof DeviceFailure) this.takeOut(error, true);
      throw error;
    } finally {
      this.scheduleProbe();
    }
  }

  /** The server keeps its weights. */
  async unload(): Promise<void> {
    return Promise.resolve();
  }

  register(): void {
    // Registered inputs are sent with the batches that use them.
  }

  release(): void {
    // As with `register`.
  }

  async run(batch: Batch, options: DeviceBatchOptions): Promise<BatchResult> {
    if (this.isClosed) throw this.closed();
    if (this.isLost) throw this.notReady('gone');
    this.pending++;
    return this.limit(() => this.attempt(batch, options)).finally(() => this.pending--);
  }

  hasBucketFor(): boolean {
    return true;
  }

  openBucket(batch: Batch, options: DeviceBatchOptions): Promise<BatchResult> {
    return this.run(batch, options);
  }

  expectedSeconds(batch: Batch): number | undefined {
    const milliseconds = this.latencies.expected(batchRows(batch));
    return milliseconds === undefined ? undefined : milliseconds / 1000;
  }

  async close(): Promise<void> {
    this.closing.abort();
    clearTimeout(this.probing);
    this.client.close();
    return Promise.resolve();
  }

  private get isClosed(): boolean {
    return this.closing.signal.aborted;
  }

  /** The file of the graph that the network stands for. */
  private get file(): GraphFile | undefined {
    const { graph } = this.options;
    return Object.hasOwn(this.state.files, graph) ? this.state.files[graph] : undefined;
  }

  /** What batches rest on, once the graph is loaded. */
  private get loadedInfo(): GraphInfo | undefined {
    return this.state.loaded.get(this.options.graph);
  }

  /** Reads the network's metadata and configuration from the server. @throws DeviceFailure; SrdsError DEVICE_UNAVAILABLE if it is another network */
  private async connect(): Promise<RemoteModel> {
    const { batching = 'auto', inputs } = this.options;
    try {
      const isReady = await this.client.isReady();
      // Their failure says why it is not ready.
      const [metadata, config] = await Promise.all([this.client.metadata(), this.client.config()]);
      if (!isReady) throw new OipError('unreachable', 'a model that is not ready');
      const model = remoteModel(metadata, config, { file: this.file, inputs: this.model?.info.inputs ?? inputs });
      const [before, now] = [this.model, model].map((one) => one?.inputs.map(({ name }) => name).join(', '));
      if (before !== undefined && before !== now) throw new Misfit(`the inputs ${before}`, now ?? 'none');
      const mixed = this.loadedInfo?.inputs.filter((input) => !isShared(input)).map(({ name }) => name) ?? [];
      const shared = model.info.inputs.find((input) => isShared(input) && mixed.includes(input.name));
      if (shared) throw new Misfit(`${shared.name} of each row`, 'one of a whole batch');
      if (model.identity !== this.model?.identity) this.batching = new BatchingChoice(batching, model.batchesRequests);
      this.model = model;
      this.limit = pLimit(this.slots);
      this.lastUse = performance.now();
      return model;
    } catch (error) {
      if (error instanceof Misfit)
        throw new SrdsError('DEVICE_UNAVAILABLE', `${error.expected} from ${this.name}`, error.found, OTHER_MODEL);
      throw this.failureOf(error, 'to be ready');
    }
  }

  private async attempt(batch: Batch, options: DeviceBatchOptions): Promise<BatchResult> {
    const { model } = this;
    if (this.isClosed) throw this.closed();
    // Whatever it failed before, it has not failed this batch.
    if (!model || !this.health.isUp) throw this.notReady(this.isLost ? 'lost' : 'unavailable');
    if (!this.serves(batch[0].graph)) throw this.failure('refused', `to run ${batch[0].graph}`, 'another graph');
    const parts = partsOf(batch, model.maxRows);
    const results: BatchResult[] = [];
    for (const part of parts) results.push(await this.runPart(part, model, options));
    return joinedResult(batch, results);
  }

  /** Runs a batch that fits the network, in one request or in one for each row. */
  private async runPart(batch: Batch, model: RemoteModel, options: DeviceBatchOptions): Promise<BatchResult> {
    const rows = batchRows(batch);
    const batching = this.batching.next(rows);
    const pieces = batching === 'single' ? partsOf(batch, 1) : [batch];
    const signal = options.signal ? AbortSignal.any([options.signal, this.closing.signal]) : this.closing.signal;
    const start = performance.now();
    try {
      const results = await Promise.all(pieces.map((piece) => this.infer(piece, model, { ...options, signal }, rows)));
      const milliseconds = performance.now() - start;
      this.lastUse = performance.now();
      this.latencies.add(rows, milliseconds);
      this.batching.add(batching, rows, milliseconds);
      this.health.succeed();
      return { ...joinedResult(batch, results), seconds: milliseconds / 1000 };
    } catch (error) {
      if (this.isClosed) throw this.closed();
      options.signal?.throwIfAborted();
      this.batching.add(batching, rows, Infinity);
      const failure = this.failureOf(error, `to run a batch of ${plural(rows, 'row')}`);
      if (failure instanceof DeviceFailure && failure.kind !== 'busy') this.takeOut(failure);
      throw failure;
    }
  }

  /** One request. @param rows of the batch that it is part of, on which its deadline depends */
  private async infer(
    batch: Batch,
    model: RemoteModel,
    options: DeviceBatchOptions,
    rows: number,
  ): Promise<BatchResult> {
    const { tensors, rows: sent } = requestTensors(batch, model, this.state.registered);
    const [{ output, inputs }] = batch;
    const priority = priorityLevel(options, model.priorityLevels);
    // A denoising network returns what it is given: the first of the inputs that its file names.
    const role = this.file?.inputs?.at(0)?.name;
    const dims = role !== undefined && Object.hasOwn(inputs, role) ? inputs[role].dims : undefined;
    const answer = await this.client.infer(
      {
        inputs: tensors,
        outputs: [(model.outputs.find(({ name }) => name === output) ?? model.outputs[0]).name],
        ...(priority !== undefined && { parameters: { priority } }),
      },
      {
        timeoutMs: this.latencies.deadline(rows),
        maxBytes: answerBytes(output, model, sent, dims),
        signal: options.signal,
      },
    );
    const values = answerRows(answer, output, model, sent, dims);
    const outputs: Float32Array[][] = [];
    let at = 0;
    for (const evaluation of batch) outputs.push(values.slice(at, (at += rowsOf(evaluation))));
    return { outputs, seconds: 0, rows: sent, device: this.name };
  }

  /** Takes the endpoint out until a probe finds it ready. */
  private takeOut(failure: DeviceFailure, isSilent = false): void {
    this.problem = failure;
    const wasUp = this.health.fail();
    if (wasUp && !isSilent) this.onWarning(`${failure.message}; it is out until it is ready again`);
    this.scheduleProbe();
  }

  /** Brings the endpoint back if it is out. */
  private comeBack(): void {
    if (this.health.isUp || this.isClosed) return;
    this.health.recover();
    this.problem = undefined;
    this.onWarning(`${this.name} is ready again`);
  }

  private scheduleProbe(): void {
    clearTimeout(this.probing);
    if (this.isClosed) return;
    this.probing = setTimeout(() => void this.probe(), this.health.probeDelay(Math.random()));
    this.probing.unref();
  }

  /** Brings the endpoint back if it is out and ready, and takes it out if it is idle and not ready. */
  private async probe(): Promise<void> {
    const { isUp } = this.health;
    const isIdle = this.pending === 0 && performance.now() - this.lastUse >= this.health.probeDelay(0);
    try {
      if (!isUp) await this.connect();
      else if (isIdle && !(await this.client.isReady({ timeoutMs: PROBE_MS, signal: this.closing.signal })))
        throw new OipError('unreachable', 'a model that is not ready');
      if (!isUp) this.comeBack();
    } catch (error) {
      if (this.isClosed) return;
      if (!isUp) this.health.stayOut();
      const failure = this.failureOf(error, 'to be ready');
      if (failure instanceof DeviceFailure) this.takeOut(failure);
      else if (this.health.fail() || this.problem?.message !== failure.message) {
        this.problem = failure;
        this.onWarning(failure.message);
      }
    } finally {
      this.scheduleProbe();
    }
  }

  /** What a failed request means for its batch. @param what the endpoint was expected to do */
  private failureOf(error: unknown, what: string): SrdsError {
    if (error instanceof SrdsError) return error;
    if (error instanceof UnsuitableBatch) {
      const remedy = 'choose the size of image that the endpoint serves';
      return new SrdsError('INVALID_OPTION', `${error.expected} for ${this.name}`, error.found, remedy);
    }
    if (error instanceof MalformedAnswer) return this.failure('failed', what, error.message);
    if (!(error instanceof OipError))
      return new SrdsError('ENGINE_FAILED', `${this.name} ${what}`, messageOf(error), 'report this as a defect');
    const { failure, message, retryAfter } = error;
    const isUntrusted = failure === 'untrusted';
    return this.failure(
      failure,
      what,
      isUntrusted ? `a certificate that is not trusted (${message})` : message,
      retryAfter,
    );
  }

  private failure(failure: OipFailure, what: string, found: string, retryAfter?: number): DeviceFailure {
    const remedy = OIP_REMEDIES[failure];
    return new DeviceFailure(KINDS[failure], `${this.name} ${what}`, oneLine(found), remedy, retryAfter);
  }

  /** The failure of a batch that the endpoint is given while it is out. */
  private notReady(kind: FailureKind): DeviceFailure {
    const { problem } = this;
    if (!problem) return this.failure('unreachable', 'to be ready', 'no answer');
    const expected = problem instanceof DeviceFailure ? `${this.name} to be ready` : problem.expected;
    return new DeviceFailure(kind, expected, problem.found, problem.remedy);
  }

  private closed(): SrdsError {
    const remedy = 'do not use an engine after closing it';
    return new SrdsError('ENGINE_FAILED', `${this.name} to run a batch`, 'a closed engine', remedy);
  }
}

/** Whether a problem lasts until the user mends its cause; so does another network. */
function isLasting(problem: SrdsError): boolean {
  return !(problem instanceof DeviceFailure) || problem.kind === 'lost';
}
