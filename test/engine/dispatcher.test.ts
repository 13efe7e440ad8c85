import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SrdsError } from 'srds';
import { Dispatcher } from '../../src/engine/dispatcher.js';
import type { BatchResult } from '../../src/engine/engine.js';
import { OPENING_LOAD, type EngineDevice } from '../../src/engine/engineDevice.js';
import { DeviceFailure } from '../../src/engine/retry.js';

const RESULT: BatchResult = { outputs: [], seconds: 0, rows: 1, device: 'endpoint' };

test('beside a lost device, an endpoint that is out is waited for', async () => {
  let waits = 0;
  const tries = { lost: 0, endpoint: 0 };
  const common = { slots: 1, maxRows: 1, buckets: [], hasBucketFor: () => true };
  const lost = {
    ...common,
    load: Infinity,
    isLost: true,
    run: async () => {
      if (++tries.lost > 10) throw new Error('the lost device is tried without end');
      throw new SrdsError('ENGINE_FAILED', 'a device', 'a lost one', 'wait');
    },
  };
  const endpoint = {
    ...common,
    isLost: false,
    get load() {
      return waits < 2 ? Infinity : 0;
    },
    run: async () => {
      tries.endpoint++;
      if (waits < 2) throw new DeviceFailure('unavailable', 'endpoint to be ready', 'no answer', 'wait');
      return RESULT;
    },
  };
  const clock = {
    now: () => 0,
    wait: async () => {
      waits++;
    },
    random: () => 0,
  };
  const dispatcher = new Dispatcher({ closing: new AbortController().signal, inBackground: () => undefined, clock });
  const devices = [lost, endpoint] as unknown as EngineDevice[];
  assert.equal(await dispatcher.run(devices, [], {}), RESULT);
  assert.deepEqual(tries, { lost: 0, endpoint: 3 });
});

/** A device with buckets whose batches end when the test says so. */
class BucketDevice {
  readonly slots = 1;
  readonly isLost = false;
  readonly log: string[] = [];
  private isOpen: boolean;
  private readonly ends: (() => void)[] = [];
  private opening = 0;

  /** @param buckets none: it runs batches of any size */
  constructor(readonly buckets: readonly number[] = [1]) {
    this.isOpen = buckets.length === 0;
  }

  get load(): number {
    return this.ends.length + OPENING_LOAD * this.opening;
  }

  hasBucketFor(): boolean {
    return this.isOpen;
  }

  async run(): Promise<BatchResult> {
    this.log.push('run');
    await new Promise<void>((resolve) => this.ends.push(resolve));
    return RESULT;
  }

  async openBucket(): Promise<BatchResult> {
    this.log.push('open');
    this.isOpen = true;
    this.opening++;
    await new Promise<void>((resolve) => this.ends.push(resolve));
    this.opening--;
    return RESULT;
  }

  end(): void {
    this.ends.shift()?.();
  }
}

/** Runs three batches, one after the other, that a device is expected to take. */
async function runInTurn(run: () => Promise<BatchResult>, device: BucketDevice): Promise<void> {
  for (let k = 0; k < 3; k++) {
    const one = run();
    device.end();
    await one;
  }
}

test('a device opens a bucket that another has once that one is busy, and not before', async () => {
  const [a, b] = [new BucketDevice(), new BucketDevice()];
  const background: Promise<unknown>[] = [];
  const inBackground = (work: Promise<unknown>) => void background.push(work);
  const dispatcher = new Dispatcher({ closing: new AbortController().signal, inBackground });
  const run = () => dispatcher.run([a, b] as unknown as EngineDevice[], [], {});
  // One after the other: a VAE decodes each image on the device that has it.
  await runInTurn(run, a);
  assert.deepEqual([a.log, b.log], [['open', 'run', 'run'], []]);
  // Two at once: the second waits for the device that has the bucket, while the other opens it for later ones.
  const first = run();
  const second = run();
  assert.deepEqual([a.log.slice(3), b.log], [['run', 'run'], ['open']]);
  a.end();
  a.end();
  b.end();
  await Promise.all([first, second, ...background]);
  const both = [run(), run()];
  assert.deepEqual([a.log.slice(5), b.log], [['run'], ['open', 'run']]);
  a.end();
  b.end();
  await Promise.all(both);
});

test('a device with buckets opens them beside one without, which always has what it needs', async () => {
  const [gpu, cpu] = [new BucketDevice(), new BucketDevice([])];
  const dispatcher = new Dispatcher({ closing: new AbortController().signal, inBackground: () => undefined });
  const run = () => dispatcher.run([gpu, cpu] as unknown as EngineDevice[], [], {});
  await runInTurn(run, gpu);
  assert.deepEqual([gpu.log, cpu.log], [['open', 'run', 'run'], []]);
  // While it is busy, the other one takes the next batch at once.
  const both = [run(), run()];
  assert.deepEqual(cpu.log, ['run']);
  gpu.end();
  cpu.end();
  await Promise.all(both);
});

test('batches that come while the first bucket opens open theirs on other devices', async () => {
  const [a, b] = [new BucketDevice(), new BucketDevice()];
  const dispatcher = new Dispatcher({ closing: new AbortController().signal, inBackground: () => undefined });
  const both = [1, 2].map(() => dispatcher.run([a, b] as unknown as EngineDevice[], [], {}));
  assert.deepEqual([a.log, b.log], [['open'], ['open']]);
  a.end();
  b.end();
  await Promise.all(both);
});
