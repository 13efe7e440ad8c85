import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_BUCKETS, processSettings } from '../../../src/engine/local/openProcessors.js';

test('the settings of a process follow the device and the options', () => {
  const [cpu, cuda, webgpu] = (['cpu', 'cuda', 'webgpu'] as const).map((kind) => ({ kind, index: 0 }));
  assert.deepEqual(processSettings(cpu, { threads: 3 }), {
    device: cpu,
    threads: 3,
    buckets: [],
    fused: true,
    cApi: false,
  });
  assert.deepEqual(processSettings(cuda, { threads: 3 }), {
    device: cuda,
    threads: 1,
    buckets: DEFAULT_BUCKETS,
    fused: true,
    cApi: process.platform === 'linux',
  });
  assert.equal(processSettings(cuda, { cudaGraphs: false }).cApi, false);
  assert.equal(processSettings(webgpu, {}).cApi, false);
  assert.deepEqual(
    [cpu, cuda].map((device) => {
      const { buckets, fused } = processSettings(device, { buckets: [2], fused: false });
      return { buckets, fused };
    }),
    Array(2).fill({ buckets: [2], fused: false }),
  );
});
