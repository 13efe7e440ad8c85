import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SrdsError } from 'srds';
import { Dispatcher } from '../../src/engine/dispatcher.js';
import type { BatchResult } from '../../src/engine/engine.js';
import type { EngineDevice } from '../../src/engine/engineDevice.js';
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
