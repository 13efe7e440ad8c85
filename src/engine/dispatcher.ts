import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { numberBetween } from '../errors.js';
import type { Batch, BatchOptions, BatchResult } from './engine.js';
import { OPENING_LOAD, type EngineDevice } from './engineDevice.js';
import { DeviceFailure, retryDelay } from './retry.js';

/** Time and chance, as a dispatcher has them. */
export interface Clock {
  /** Milliseconds since some moment. */
  now(): number;
  /** Waits; ends early when the signal is aborted. */
  wait(milliseconds: number, signal: AbortSignal): Promise<void>;
  /** A number from 0 to 1. */
  random(): number;
}

const REAL_TIME: Clock = {
  now: () => performance.now(),
  wait: async (milliseconds, signal) => delay(milliseconds, undefined, { signal }).catch(() => undefined),
  random: () => Math.random(),
};

const MAX_HEDGE = 1000;

/** How batches get to devices. */
export interface DispatcherOptions {
  /** Multiple of a batch's usual time after which another free device runs it too, and the first result counts; default: never. */
  readonly hedge?: number | undefined;
  /** Ends waiting. */
  readonly closing: AbortSignal;
  /** Called with work that nothing waits for. */
  readonly inBackground: (work: Promise<unknown>) => void;
  /** Default: that of the machine. */
  readonly clock?: Clock;
}

/** Runs batches: each on the device with the least load, and on others until one has run it. */
export class Dispatcher {
  private readonly hedge: number | undefined;
  private readonly closing: AbortSignal;
  private readonly inBackground: (work: Promise<unknown>) => void;
  private readonly clock: Clock;

  constructor({ hedge, closing, inBackground, clock = REAL_TIME }: DispatcherOptions) {
    this.hedge = hedge === undefined ? undefined : numberBetween('a multiple for hedging', hedge, 1, MAX_HEDGE);
    this.closing = closing;
    // Each waiting batch listens to it.
    setMaxListeners(0, closing);
    this.inBackground = inBackground;
    this.clock = clock;
  }

  /**
   * Runs a batch.
   * @param devices that may run it, at least one
   * @throws SrdsError of the device that failed it last
   */
  async run(devices: readonly EngineDevice[], batch: Batch, options: BatchOptions): Promise<BatchResult> {
    const { isWanted = () => true } = options;
    const start = this.clock.now();
    const failed = new Set<EngineDevice>();
    let faults = 0;
    for (let count = 1; ; count++) {
      const device = deviceFor(batch, devices, failed);
      try {
        return await this.runOn(device, devices, batch, options);
      } catch (error) {
        if (this.closing.aborted || !isWanted()) throw error;
        failed.add(device);
        if (!(error instanceof DeviceFailure)) {
          // Another device takes over from a lost one.
          if (device.isLost && devices.some(({ isLost }) => !isLost)) continue;
          throw error;
        }
        const { kind, retryAfter } = error;
        if (kind === 'faulty') faults++;
        const elapsed = this.clock.now() - start;
        const hasOther = devices.some((one) => isReady(one) && !failed.has(one));
        const wait = retryDelay({ kind, retryAfter, count, faults, elapsed, hasOther }, this.clock.random());
        if (wait === undefined) throw error;
        if (hasOther) continue;
        await this.clock.wait(wait, this.closing);
        failed.clear();
      }
    }
  }

  /** Runs a batch on a device that has the bucket, or opens one. */
  private async runOn(
    device: EngineDevice,
    devices: readonly EngineDevice[],
    batch: Batch,
    options: BatchOptions,
  ): Promise<BatchResult> {
    if (devices.length === 1) return device.run(batch, options);
    if (!device.hasBucketFor(batch)) return device.openBucket(batch, options);
    const free = device.load < 1 ? undefined : devices.find((one) => one.load < 1 && !one.hasBucketFor(batch));
    // For later batches: this one need not wait for a session to open.
    if (free) this.inBackground(free.openBucket(batch, { isWanted: () => false }));
    return this.hedged(device, devices, batch, options);
  }

  /** Runs a batch on a device, and on another free one too if the first takes unusually long. */
  private async hedged(
    device: EngineDevice,
    devices: readonly EngineDevice[],
    batch: Batch,
    options: BatchOptions,
  ): Promise<BatchResult> {
    const expected = this.hedge === undefined ? undefined : device.expectedSeconds(batch);
    if (this.hedge === undefined || expected === undefined) return device.run(batch, options);
    const [first, second, late] = [new AbortController(), new AbortController(), new AbortController()];
    const running = device.run(batch, { ...options, signal: first.signal });
    try {
      const waiting = this.clock.wait(1000 * expected * this.hedge, late.signal);
      const isLate = await Promise.race([running.then(() => false), waiting.then(() => true)]);
      const other = devices.find((one) => one !== device && one.load < 1);
      if (!isLate || !other) return await running;
      const again = other.run(batch, { ...options, signal: second.signal });
      return await Promise.any([running, again]).catch(() => running);
    } finally {
      for (const controller of [first, second, late]) controller.abort();
    }
  }
}

/** Whether a device takes batches. */
export function isReady({ load }: EngineDevice): boolean {
  return load < Infinity;
}

/**
 * The device for a batch: of those that are ready and have not failed it, if there are any, the one with the least load among those that have
 * its bucket. To open a bucket takes a second, so a device without it takes the batch only while no bucket is open.
 */
function deviceFor(batch: Batch, devices: readonly EngineDevice[], failed: ReadonlySet<EngineDevice>): EngineDevice {
  if (devices.length === 1) return devices[0];
  const ready = devices.filter(isReady);
  const fresh = ready.filter((device) => !failed.has(device));
  // Of devices that are not ready, one that may be again: a lost one fails at once, without end.
  const able =
    [fresh, ready, devices.filter(({ isLost }) => !isLost), devices].find(({ length }) => length > 0) ?? devices;
  const open = able.filter((device) => device.load < OPENING_LOAD && device.hasBucketFor(batch));
  // Devices without buckets always have it: beside them, another one still opens its own.
  const isOpen = open.some(({ buckets }) => buckets.length > 0) || able.every(({ buckets }) => buckets.length === 0);
  return (isOpen && open.length > 0 ? open : able).reduce((best, device) => (device.load < best.load ? device : best));
}
