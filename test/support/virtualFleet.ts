import { batchRows, type Batch, type BatchResult, type Capacity, type Engine } from '../../src/engine/engine.js';
import { Dispatcher } from '../../src/engine/dispatcher.js';
import type { DeviceBatchOptions, EngineDevice } from '../../src/engine/engineDevice.js';
import { EndpointHealth } from '../../src/engine/remote/endpointHealth.js';
import { DeviceFailure, type FailureKind } from '../../src/engine/retry.js';
import { sines, VirtualNetwork } from './virtual.js';
import type { VirtualClock } from './virtualClock.js';

/** What happens to a batch on an endpoint. */
export type Fate = 'runs' | 'straggles' | 'busy' | 'fails' | 'dies';

/** An endpoint, as the engine sees one, in virtual time. */
export class VirtualEndpoint implements EngineDevice {
  readonly slots = 1;
  readonly buckets = [];
  readonly isLost = false;
  /** How often each fate was met. */
  readonly met: Record<Fate, number> = { runs: 0, straggles: 0, busy: 0, fails: 0, dies: 0 };
  private readonly health = new EndpointHealth();
  private pending = 0;
  private isDead = false;
  private queue: Promise<unknown> = Promise.resolve();

  /**
   * @param milliseconds of a batch by its rows
   * @param fate of the next batch
   */
  constructor(
    readonly name: string,
    readonly maxRows: number,
    private readonly clock: VirtualClock,
    private readonly milliseconds: (rows: number) => number,
    private readonly fate: () => Fate,
  ) {}

  get load(): number {
    return this.health.isUp ? this.pending / this.slots : Infinity;
  }

  get isAvailable(): boolean {
    return this.health.isUp;
  }

  get identity(): string {
    return this.name;
  }

  serves(): boolean {
    return true;
  }

  loadGraphs(): Promise<Readonly<Record<string, never>>> {
    return Promise.resolve({});
  }

  unload(): Promise<void> {
    return Promise.resolve();
  }

  register(): void {}

  release(): void {}

  run(batch: Batch, options: DeviceBatchOptions): Promise<BatchResult> {
    this.pending++;
    const result = this.queue.then(() => this.runNow(batch, options)).finally(() => this.pending--);
    this.queue = result.catch(() => undefined);
    return result;
  }

  hasBucketFor(): boolean {
    return true;
  }

  openBucket(batch: Batch, options: DeviceBatchOptions): Promise<BatchResult> {
    return this.run(batch, options);
  }

  expectedSeconds(batch: Batch): number {
    return this.milliseconds(batchRows(batch)) / 1000;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  private async runNow(batch: Batch, { signal }: DeviceBatchOptions): Promise<BatchResult> {
    if (!this.health.isUp) throw this.failure('unavailable');
    const fate = this.fate();
    this.met[fate]++;
    const milliseconds = this.milliseconds(batchRows(batch));
    if (fate === 'busy') throw this.failure('busy');
    await this.clock.wait(milliseconds * (fate === 'straggles' ? STRAGGLING : fate === 'runs' ? 1 : 0.5), signal);
    signal?.throwIfAborted();
    if (fate === 'fails' || fate === 'dies') {
      this.isDead ||= fate === 'dies';
      if (this.health.fail()) void this.probe();
      throw this.failure('unavailable');
    }
    this.health.succeed();
    const rows = batchRows(batch);
    return { outputs: sines(batch), seconds: milliseconds / 1000, rows, device: this.name };
  }

  /** Brings the endpoint back when a probe finds it alive, as `RemoteDevice` does. */
  private async probe(): Promise<void> {
    for (;;) {
      await this.clock.wait(this.health.probeDelay(this.clock.random()));
      if (!this.isDead) return this.health.recover();
      this.health.stayOut();
    }
  }

  private failure(kind: FailureKind): DeviceFailure {
    return new DeviceFailure(kind, `${this.name} to run a batch`, kind, 'wait');
  }
}

/** Multiple of its usual time that a straggling batch takes. */
const STRAGGLING = 20;

/** An engine over endpoints in virtual time, with the engine's own dispatcher. */
export class VirtualFleet extends VirtualNetwork implements Engine {
  readonly device = 'fleet';
  readonly slots: number;
  readonly maxRows: number;
  private readonly dispatcher: Dispatcher;

  constructor(
    clock: VirtualClock,
    private readonly endpoints: readonly VirtualEndpoint[],
    hedge?: number,
  ) {
    super();
    this.slots = endpoints.length;
    this.maxRows = Math.max(...endpoints.map(({ maxRows }) => maxRows));
    const closing = new AbortController().signal;
    this.dispatcher = new Dispatcher({ hedge, closing, inBackground: () => undefined, clock });
  }

  run(batch: Batch): Promise<BatchResult> {
    return this.dispatcher.run(this.endpoints, batch, {});
  }

  capacityOf(): Capacity {
    const ready = this.endpoints.filter(({ isAvailable }) => isAvailable);
    return { slots: Math.max(1, ready.length), maxRows: this.maxRows, buckets: [] };
  }

  groupsOf(): readonly never[] {
    return [];
  }
}
