import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { join } from 'node:path';
import { Pipeline, type GenerateOptions } from 'srds';
import { parseDevices } from 'srds/engine';
import { ROOT } from '../../support/fixtures.js';
import { freePorts, ServerProcess } from '../../support/serverProcess.js';
import { startUnet, type TritonModel } from '../../support/tritonModels.js';
import { virtualEnvironment } from '../../support/venv.js';

const NETWORK = `${ROOT}models/scenes-128/unet/model.onnx`;
/** The bundled model's network. */
const UNET: TritonModel = {
  onnx: NETWORK,
  sample: [4, 32, 32],
  text: [-1, 128],
  config:
    'dynamic_batching { priority_levels: 8 default_priority_level: 8 }\ninstance_group [ { kind: KIND_CPU count: 1 } ]',
};
const REQUEST: GenerateOptions = { prompt: 'a red ball on the beach', steps: 9, seed: 3, previews: false };

const ends: (() => Promise<void>)[] = [];
after(() => Promise.all(ends.map((end) => end())));

async function triton() {
  const server = await startUnet(UNET);
  ends.push(() => server.stop('SIGKILL'));
  return server;
}

/** The image of a request. @param meanwhile called after the first batch on an endpoint */
async function imageOn(device: string, options: Partial<GenerateOptions> = {}, meanwhile?: () => Promise<void>) {
  const warnings: string[] = [];
  let begun: Promise<void> | undefined;
  const pipeline = await Pipeline.open(undefined, {
    devices: parseDevices(device),
    threads: 1,
    onWarning: (text) => warnings.push(text),
    onBatch: ({ device }) => {
      if (device.startsWith('oip')) begun ??= meanwhile?.();
    },
  });
  try {
    const [{ latents, status }] = (await pipeline.generate({ ...REQUEST, ...options }).result).images;
    await begun;
    return { latents, status, warnings };
  } finally {
    await pipeline.close();
  }
}

test('images over a real Triton are === those of the local engine, and SRDS with tolerance 0 is exact', async () => {
  const { device } = await triton();
  const serial = await imageOn('cpu', { sampler: 'serial' });
  const remote = await imageOn(device, { sampler: 'serial' });
  assert.deepEqual(remote.latents, serial.latents);
  const alone = await imageOn('cpu', { sampler: 'serial', guidance: 1 });
  const exact = await imageOn(device, { sampler: 'srds', tolerance: 0, guidance: 1 });
  assert.equal(exact.status, 'exact');
  assert.deepEqual(exact.latents, alone.latents);
  const mixed = await imageOn(`cpu,${device}`, { sampler: 'srds', tolerance: 0 });
  assert.deepEqual(mixed.latents, serial.latents);
});

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test(`one of two Tritons that gets ${signal} in the middle of an image costs a retry, and the image is the same`, async () => {
    const [a, b] = await Promise.all([triton(), triton()]);
    const expected = await imageOn('cpu', { sampler: 'serial' });
    const devices = `${a.device},${b.device}`;
    const { latents, status, warnings } = await imageOn(devices, { sampler: 'srds', tolerance: 0 }, () =>
      a.stop(signal),
    );
    assert.equal(status, 'exact');
    assert.deepEqual(latents, expected.latents);
    if (signal === 'SIGKILL') assert.ok(warnings.some((text) => text.includes(a.device)));
  });
}

test("images over KServe's server are === those of the local engine", async () => {
  const python = join(await virtualEnvironment('kserve-requirements.txt'), 'bin/python');
  const [http, grpc] = await freePorts(2);
  const args = [join(ROOT, 'test/support/kserve_server.py'), NETWORK, String(http), String(grpc)];
  const ready = `http://127.0.0.1:${http}/v2/models/unet/ready`;
  const server = await ServerProcess.start(python, args, process.env, ready);
  ends.push(() => server.end());
  const serial = await imageOn('cpu', { sampler: 'serial' });
  const remote = await imageOn(`oip+http://127.0.0.1:${http}/unet`, { sampler: 'serial' });
  assert.deepEqual(remote.latents, serial.latents);
});
