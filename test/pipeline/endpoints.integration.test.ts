import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Pipeline, type GenerateEvent, type GenerateOptions } from 'srds';
import { ownCache } from '../support/cache.js';
import { fixture } from '../support/fixtures.js';
import { SD15_UNET } from '../support/oipDenoiser.js';
import { OipServer } from '../support/oipServer.js';

const ends: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const end of ends.reverse()) await end();
});
// Removed after what writes to it has ended.
ownCache();

async function opened(count: number) {
  const servers = await Promise.all(Array.from({ length: count }, () => OipServer.start(SD15_UNET)));
  const warnings: string[] = [];
  const pipeline = await Pipeline.open(fixture('models/sd15'), {
    devices: servers.map(({ device }) => device).join(','),
    onWarning: (warning) => warnings.push(warning),
  });
  ends.push(...servers.map((server) => () => server.stop()), () => pipeline.close());
  return { servers, pipeline, warnings };
}

const REQUEST: GenerateOptions = { prompt: 'a red ball', sampler: 'auto', steps: 50, previews: false };

async function generated(pipeline: Pipeline, options = REQUEST) {
  const run = pipeline.generate(options);
  const events: GenerateEvent[] = [];
  for await (const event of run) events.push(event);
  const phases = events.flatMap((event) => (event.type === 'phase' ? [event.phase] : []));
  const devices = new Set(events.flatMap((event) => (event.type === 'batch' ? [event.device] : [])));
  return { phases, devices, ...(await run.result) };
}

test('the first image of auto on endpoints measures them and compares samplers', async () => {
  const { pipeline, servers } = await opened(2);
  const { phases, choice } = await generated(pipeline);
  assert.deepEqual(phases.slice(0, 3), ['preparing', 'measuring', 'planning']);
  assert.doesNotMatch(choice?.reason ?? 'not known', /not known/);
  for (const { received } of servers) assert.ok(received.length > 0);
});

test('an image of auto whose steps leave no time for a batch measures nothing', async () => {
  // Of endpoints of their own, of which nothing is known.
  const phases = async (steps: number) => {
    const { pipeline } = await opened(1);
    return (await generated(pipeline, { ...REQUEST, steps })).phases;
  };
  assert.ok(!(await phases(9)).includes('measuring'));
  assert.ok((await phases(10)).includes('measuring'));
});

test('an endpoint that dies while it is measured is left out, and the image is generated on the others', async () => {
  const { pipeline, servers, warnings } = await opened(2);
  const [a, b] = servers;
  b.faultOf = () => {
    void b.stop();
    return { kind: 'hang' };
  };
  const { images, devices, choice } = await generated(pipeline);
  assert.notEqual(images[0].status, 'aborted');
  assert.deepEqual([...devices], [a.device]);
  assert.doesNotMatch(choice?.reason ?? 'not known', /not known/);
  assert.equal(b.received.length, 1);
  assert.ok(warnings.some((warning) => warning.includes(b.device)));
});

test('a machine is what is left of the endpoints; without any, the error says what to do', async () => {
  const { pipeline, servers } = await opened(2);
  const [a, b] = servers;
  await b.stop();
  const { devices } = await pipeline.machine(REQUEST, { fresh: true });
  assert.equal(devices.length, 1);
  await a.stop();
  await assert.rejects(pipeline.machine(REQUEST, { fresh: true }), {
    code: 'ENGINE_FAILED',
    message: new RegExp(`${a.device.replace(/\W/g, '\\$&')} to run a batch .*; start the server`),
  });
  await assert.rejects(pipeline.machine(REQUEST, { fresh: true }), {
    code: 'DEVICE_UNAVAILABLE',
    message: /^expected a device to measure among .*, found none that is ready; start its server again/,
  });
});
