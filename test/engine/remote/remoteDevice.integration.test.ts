import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { after, test } from 'node:test';
import type { SrdsError } from 'srds';
import { engineConformance } from 'srds/conformance';
import { DeviceEngine, parseDevices, type EndpointOptions, type Evaluation } from 'srds/engine';
import { float32 } from 'srds/tensor';
import { until } from '../../support/async.js';
import { fixture } from '../../support/fixtures.js';
import { float16Bytes } from '../../support/float16.js';
import { denoiser, type DenoiserForm } from '../../support/oipDenoiser.js';
import {
  OipServer,
  type Fault,
  type OipModel,
  type OipServerOptions,
  type OipTensor,
} from '../../support/oipServer.js';

const servers: OipServer[] = [];
const engines: DeviceEngine[] = [];
after(async () => {
  await Promise.all(engines.map((engine) => engine.close()));
  await Promise.all(servers.map((server) => server.stop()));
});

async function serve(form: DenoiserForm | OipModel = {}, options: OipServerOptions = {}): Promise<OipServer> {
  const server = await OipServer.start('compute' in form ? form : denoiser(form), options);
  servers.push(server);
  return server;
}

interface Opened {
  readonly engine: DeviceEngine;
  readonly warnings: string[];
}

async function open(
  on: readonly OipServer[],
  endpoints: Partial<EndpointOptions> = {},
  hedge?: number,
): Promise<Opened> {
  const warnings: string[] = [];
  const engine = await DeviceEngine.open(
    {},
    {
      devices: parseDevices(on.map(({ device }) => device).join(',')) as Exclude<
        ReturnType<typeof parseDevices>,
        'auto'
      >,
      endpoints: { graph: 'unet', ...endpoints },
      graphs: ['unet'],
      hedge,
      onWarning: (warning) => warnings.push(warning),
    },
  );
  engines.push(engine);
  return { engine, warnings };
}

const TEXTS = [1, 2].map((value) => ({
  encoder_hidden_states: float32(new Float32Array(3 * 8).fill(value), [3, 8]),
}));

function evaluation(k: number): Evaluation {
  const sample = float32(Float32Array.of(k, 2 * k, 3, 4, 5, 6), [2, 3]);
  return { graph: 'unet', output: 'out_sample', inputs: { sample, timestep: float32(Float32Array.of(128 * k), []) } };
}

/** What the stand-in returns for a row. */
function expected(k: number, text: number): Float32Array {
  return Float32Array.of(k, 2 * k, 3, 4, 5, 6).map((value) => value / 2 + k / 8 + text);
}

const FORMS: readonly DenoiserForm[] = [
  {},
  { timestep: [-1] },
  { timestepType: 'INT64', timestep: [-1] },
  { datatype: 'FP16' },
  { config: { max_batch_size: 2, dynamic_batching: {}, instance_group: [{ count: 2 }] } },
];
const conformant = await Promise.all(FORMS.map((form) => serve(form)));
for (const [k, server] of conformant.entries()) {
  const checks = engineConformance({
    name: `an endpoint with ${JSON.stringify(FORMS[k])}`,
    open: async () => (await open([server])).engine,
    evaluations: [evaluation(1), evaluation(2), evaluation(3)],
    conditioning: [TEXTS[0], TEXTS[1]],
  });
  for (const { name, run } of checks) test(name, run);
}

test('rows have the values that their inputs lead to, in batches of any form', async () => {
  for (const form of [...FORMS, { timestep: [] }]) {
    const { engine } = await open([await serve(form)]);
    const ids = TEXTS.map((inputs) => engine.register(inputs));
    const batch = [1, 2, 3].map((k) => ({ ...evaluation(k), conditioning: k === 2 ? [ids[0]] : ids }));
    const isShared = form.timestep?.length === 0;
    const parts = isShared ? batch.map((one) => [one]) : [batch];
    const outputs = (await Promise.all(parts.map((part) => engine.run(part)))).flatMap((result) => result.outputs);
    const texts = (k: number) => (k === 2 ? [1] : [1, 2]);
    assert.deepEqual(
      outputs,
      [1, 2, 3].map((k) => texts(k).map((text) => expected(k, text))),
      JSON.stringify(form),
    );
    const timestep = engine.graphs.get('unet')?.inputs.find(({ name }) => name === 'timestep');
    assert.deepEqual(timestep?.dims, isShared ? [] : ['batch']);
  }
});

test('a server that fixes the size of batches gets batches of that size', async () => {
  const model = denoiser();
  const fixed = (shape: readonly number[]) => [4, ...shape.slice(1)];
  const server = await serve({
    ...model,
    inputs: model.inputs.map((one) => ({ ...one, shape: fixed(one.shape) })),
    outputs: model.outputs.map((one) => ({ ...one, shape: fixed(one.shape) })),
  });
  const { engine } = await open([server]);
  const ids = TEXTS.map((inputs) => engine.register(inputs));
  const { outputs, rows } = await engine.run([{ ...evaluation(1), conditioning: ids }]);
  assert.deepEqual(outputs, [[expected(1, 1), expected(1, 2)]]);
  assert.equal(rows, 4);
  assert.deepEqual(server.received[0].inputs.get('sample')?.shape, [4, 2, 3]);
});

test('a network counts as rounding coarsely unless its server says that it runs it on CPUs in float32', async () => {
  const on = (...kinds: string[]): DenoiserForm => ({ config: { instance_group: kinds.map((kind) => ({ kind })) } });
  const parameters = { srds_precision: { string_value: 'float16' } };
  const halfInside = { config: { ...on('KIND_CPU').config, parameters } };
  const cases: [forms: readonly DenoiserForm[], isCoarse: boolean][] = [
    [[on('KIND_CPU')], false],
    [[on('KIND_GPU')], true],
    [[on('KIND_CPU', 'KIND_GPU')], true],
    [[{}], true],
    [[{ ...on('KIND_CPU'), datatype: 'FP16' }], true],
    [[halfInside], true],
    // The result of each batch is of one of them.
    [[on('KIND_CPU'), on('KIND_GPU')], true],
  ];
  for (const [forms, isCoarse] of cases) {
    const { engine } = await open(await Promise.all(forms.map((form) => serve(form))));
    assert.equal(engine.graphs.get('unet')?.roundsCoarsely, isCoarse, JSON.stringify(forms));
  }
});

test('batches in flight are bounded, go to the endpoint with the fewest, and have their priority', async () => {
  const config = { max_batch_size: 8, dynamic_batching: { priority_levels: 8 } };
  const [a, b] = [await serve({ config }), await serve({ config })];
  for (const server of [a, b]) server.faultOf = () => ({ kind: 'delay', ms: 20 });
  const { engine } = await open([a, b], { inFlight: 2 });
  assert.deepEqual([engine.slots, engine.maxRows], [4, 8]);
  const id = engine.register(TEXTS[0]);
  const one = { ...evaluation(1), conditioning: [id] };
  await Promise.all(Array.from({ length: 12 }, () => engine.run([one], { priority: [2, 9], speculative: true })));
  assert.deepEqual([a.mostRunning, b.mostRunning], [2, 2]);
  assert.deepEqual([a.received.length, b.received.length], [6, 6]);
  assert.deepEqual(a.received[0].parameters, { priority: 7 });
});

test('rows that are sent one by one, where the server makes batches', async () => {
  const server = await serve({ config: { max_batch_size: 8, dynamic_batching: {} } });
  const { engine } = await open([server], { batching: 'single' });
  const ids = TEXTS.map((inputs) => engine.register(inputs));
  const { outputs } = await engine.run([1, 2].map((k) => ({ ...evaluation(k), conditioning: ids })));
  assert.deepEqual(
    outputs,
    [1, 2].map((k) => [expected(k, 1), expected(k, 2)]),
  );
  assert.deepEqual(
    server.received.map(({ inputs }) => inputs.get('sample')?.shape[0]),
    [1, 1, 1, 1],
  );
});

const isNamed = (server: OipServer, found: RegExp) => (error: SrdsError) => {
  assert.equal(error.code, 'ENGINE_FAILED');
  assert.ok(error.message.includes(server.device), error.message);
  assert.match(error.message, found);
  assert.doesNotMatch(error.message, /\n/);
  return true;
};

const change = (how: (output: OipTensor) => OipTensor): Fault => ({ kind: 'change', change: how });
const WRONG: readonly (readonly [what: string, fault: Fault, found: RegExp])[] = [
  ['of another shape', change((one) => ({ ...one, shape: [one.shape[0], 3, 2] })), /shape \[1, 3, 2\]/],
  ['with fewer rows', change((one) => ({ ...one, shape: [0, 2, 3], bytes: new Uint8Array() })), /shape \[0, 2, 3\]/],
  [
    'of another type',
    change((one) => ({ ...one, datatype: 'FP16', bytes: float16Bytes([1, 2, 3, 4, 5, 6]) })),
    /FP16, not FP32/,
  ],
  [
    'with NaN',
    change((one) => ({ ...one, bytes: new Uint8Array(Float32Array.from([1, NaN, 3, 4, 5, 6]).buffer) })),
    /NaN/,
  ],
  ['without end', { kind: 'endless' }, /more than \d+ bytes/],
  ['that is truncated', { kind: 'truncate' }, /cut off/],
  ['without binary tensors', { kind: 'json' }, /no binary tensors/],
  ['of status 500', { kind: 'status', status: 500, text: 'CUDA error' }, /500 \(CUDA error\)/],
  ['of status 400', { kind: 'status', status: 400 }, /400/],
];
for (const [what, fault, found] of WRONG) {
  test(`an answer ${what} is tried on another endpoint, and is an error that names the endpoint where there is none`, async () => {
    const [bad, good] = [await serve(), await serve()];
    bad.faultOf = () => fault;
    const { engine, warnings } = await open([bad, good]);
    const one = { ...evaluation(1), conditioning: [engine.register(TEXTS[0])] };
    assert.deepEqual((await engine.run([one])).outputs, [[expected(1, 1)]]);
    assert.equal(bad.received.length, 1);
    assert.match(warnings[0], found);
    const alone = await open([bad]);
    const again = { ...evaluation(1), conditioning: [alone.engine.register(TEXTS[0])] };
    await assert.rejects(alone.engine.run([again]), isNamed(bad, found));
  });
}

for (const status of [503, 429]) {
  test(`a server whose queue is full (${status}) is asked again, and stays in use`, async () => {
    const server = await serve();
    server.faultOf = (request) =>
      request < 2 ? { kind: 'status', status, text: 'Exceeds maximum queue size' } : undefined;
    const { engine, warnings } = await open([server]);
    const one = { ...evaluation(1), conditioning: [engine.register(TEXTS[0])] };
    assert.deepEqual((await engine.run([one])).outputs, [[expected(1, 1)]]);
    assert.equal(server.received.length, 3);
    assert.deepEqual(warnings, []);
  });
}

test('a server that is slow or sends chunks is waited for', async () => {
  const server = await serve();
  server.faultOf = (request) => (request === 0 ? { kind: 'delay', ms: 300 } : { kind: 'chunk' });
  const { engine, warnings } = await open([server]);
  const one = { ...evaluation(1), conditioning: [engine.register(TEXTS[0])] };
  for (let run = 0; run < 2; run++) assert.deepEqual((await engine.run([one])).outputs, [[expected(1, 1)]]);
  assert.deepEqual(warnings, []);
});

test('a server that hangs is given up after a multiple of its usual time, and another one takes over', async () => {
  const [hanging, good] = [await serve(), await serve()];
  const { engine, warnings } = await open([hanging, good]);
  const one = { ...evaluation(1), conditioning: [engine.register(TEXTS[0])] };
  await engine.run([one]);
  hanging.faultOf = () => ({ kind: 'hang' });
  hanging.isReady = false;
  assert.deepEqual((await engine.run([one])).outputs, [[expected(1, 1)]]);
  assert.match(warnings[0], /no answer within 5 s/);
});

test('with hedging a straggler runs on another endpoint too, and the first result counts', async () => {
  const [slow, fast] = [await serve(), await serve()];
  const { engine, warnings } = await open([slow, fast], {}, 4);
  const one = { ...evaluation(1), conditioning: [engine.register(TEXTS[0])] };
  await engine.run([one]);
  slow.faultOf = () => ({ kind: 'hang' });
  const { outputs, device } = await engine.run([one]);
  assert.deepEqual([outputs, device], [[[expected(1, 1)]], fast.device]);
  assert.deepEqual(warnings, []);
});

test('a server that dies loses no batch, and is used again when it is back', async () => {
  const [a, b] = [await serve(), await serve()];
  for (const server of [a, b]) server.faultOf = () => ({ kind: 'delay', ms: 5 });
  const { engine, warnings } = await open([a, b]);
  const one = { ...evaluation(1), conditioning: [engine.register(TEXTS[0])] };
  const running = Array.from({ length: 20 }, () => engine.run([one]));
  await delay(12);
  await a.stop();
  for (const { outputs } of await Promise.all(running)) assert.deepEqual(outputs, [[expected(1, 1)]]);
  assert.equal(engine.slots, 1);
  assert.ok(warnings[0].includes(a.device));
  const back = await serve({}, { port: a.port });
  await until(() => engine.slots === 2);
  await Promise.all([engine.run([one]), engine.run([one])]);
  assert.equal(back.received.length, 1);
  assert.match(warnings.at(-1) ?? '', /is ready again/);
});

test('an only endpoint that is away is waited for', async () => {
  const server = await serve();
  const { engine } = await open([server]);
  const one = { ...evaluation(1), conditioning: [engine.register(TEXTS[0])] };
  await engine.run([one]);
  await server.stop();
  const running = engine.run([one]);
  await delay(300);
  await serve({}, { port: server.port });
  assert.deepEqual((await running).outputs, [[expected(1, 1)]]);
});

test('endpoints that deny access or lack the model fail a batch without waiting, with what to do', async () => {
  const faults: [status: number, found: RegExp][] = [
    [401, /to be ready, found status 401.*; give the token that the server asks for in SRDS_ENDPOINT_TOKEN/],
    [404, /to be ready, found status 404.*; check the name of the model/],
  ];
  for (const [status, found] of faults) {
    const [a, b] = [await serve(), await serve()];
    const { engine } = await open([a, b]);
    const one = { ...evaluation(1), conditioning: [engine.register(TEXTS[0])] };
    await engine.run([one]);
    for (const server of [a, b]) server.faultOf = () => ({ kind: 'status', status });
    // Each is asked once, although a probe would find it ready.
    await assert.rejects(engine.run([one]), (error: SrdsError) => {
      assert.equal(error.code, 'ENGINE_FAILED');
      assert.match(error.message, found);
      return true;
    });
    assert.deepEqual([a.received.length, b.received.length], [2, 1]);
  }
});

test('an endpoint that is away is waited for although others deny access, and these are used again once they grant it', async () => {
  const servers = [await serve(), await serve(), await serve(), await serve(), await serve()];
  const away = servers[4];
  const { engine } = await open(servers);
  const one = { ...evaluation(1), conditioning: [engine.register(TEXTS[0])] };
  await away.stop();
  for (const server of servers) server.token = 'another';
  const running = engine.run([one]);
  await until(() => !engine.available);
  const back = await serve({}, { port: away.port });
  assert.deepEqual((await running).outputs, [[expected(1, 1)]]);
  assert.equal(back.received.length, 1);
  for (const server of servers) server.token = undefined;
  await until(() => engine.slots === 5);
});

test('an endpoint that is away when the engine opens is used once it is there; without any, opening fails', async () => {
  const [a, b] = [await serve(), await serve()];
  await b.stop();
  const { engine, warnings } = await open([a, b]);
  assert.equal(engine.slots, 1);
  assert.ok(warnings[0].includes(b.device));
  await serve({}, { port: b.port });
  await until(() => engine.slots === 2);
  await a.stop();
  const dead = await serve();
  await dead.stop();
  await assert.rejects(open([dead]), (error: SrdsError) => {
    assert.equal(error.code, 'DEVICE_UNAVAILABLE');
    return error.message.includes(dead.device);
  });
});

test('an endpoint that cannot be used when the engine opens says why, and what to do', async () => {
  const refusal = async (device: string, message: RegExp) => {
    const devices = parseDevices(device) as Exclude<ReturnType<typeof parseDevices>, 'auto'>;
    const opening = DeviceEngine.open({}, { devices, endpoints: { graph: 'unet' }, graphs: ['unet'] });
    await assert.rejects(opening, { code: 'DEVICE_UNAVAILABLE', message });
  };
  const server = await serve();
  await refusal(
    server.device.replace('unet', 'unot'),
    /unot to be ready, found status 404 .*; check the name of the model/,
  );
  await refusal(`${server.device}/versions/2`, /found status 404 .*; check the name of the model, its version/);
  server.isReady = false;
  await refusal(server.device, /found a model that is not ready; start the server/);
  server.token = 'secret';
  await refusal(server.device, /found status 401 .*; give the token that the server asks for in SRDS_ENDPOINT_TOKEN/);
  const other = createServer((socket) => socket.end('not HTTP')).listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  await refusal(`oip+http://127.0.0.1:${port}/unet`, /found an answer that is not HTTP; .*check that its port/);
  other.close();
});

test('an endpoint with another network is refused, also when it comes back with one', async () => {
  const files = { unet: { path: 'absent', inputs: [{ name: 'sample' }, { name: 'timestep' }, { name: 'text' }] } };
  const server = await serve();
  const devices = parseDevices(server.device) as Exclude<ReturnType<typeof parseDevices>, 'auto'>;
  const wrong = { devices, endpoints: { graph: 'unet' } };
  await assert.rejects(DeviceEngine.open({ unet: { ...files.unet, inputs: files.unet.inputs.slice(0, 2) } }, wrong), {
    code: 'DEVICE_UNAVAILABLE',
  });
  const inputs = [{ name: 'encoder_hidden_states', type: 'float32', dims: ['batch', 'tokens', 768] }];
  await assert.rejects(DeviceEngine.open({}, { ...wrong, graphs: ['unet'], endpoints: { graph: 'unet', inputs } }), {
    code: 'DEVICE_UNAVAILABLE',
    message: /768.*found \[any, any, 8\]/,
  });
  const { engine, warnings } = await open([server]);
  await server.stop();
  const one = { ...evaluation(1), conditioning: [engine.register(TEXTS[0])] };
  const running = engine.run([one]);
  await until(() => warnings.length > 0);
  const model = denoiser();
  const masked = [...model.inputs, { name: 'mask', datatype: 'FP32', shape: [-1, 1] }];
  let requests = 0;
  await serve(
    {
      ...model,
      inputs: masked,
      get name() {
        requests++;
        return model.name;
      },
    },
    { port: server.port },
  );
  const message = /found .*mask.*; name an endpoint that serves the network of this model/;
  await assert.rejects(running, { code: 'ENGINE_FAILED', message });
  assert.equal(engine.available, false);
  // Later probes find the same, and say nothing.
  const before = requests;
  await until(() => requests >= before + 10);
  assert.equal(warnings.filter((warning) => /mask/.test(warning)).length, 1);
});

test('an image of another size than the endpoint takes is the fault of the options', async () => {
  const model = denoiser();
  const [sample, ...others] = model.inputs;
  const { engine } = await open([await serve({ ...model, inputs: [{ ...sample, shape: [-1, 2, 9] }, ...others] })]);
  const one = { ...evaluation(1), conditioning: [engine.register(TEXTS[0])] };
  await assert.rejects(engine.run([one]), { code: 'INVALID_OPTION', message: /shape \[2, 9\].*found shape \[2, 3\]/ });
});

test('https works with the authority of the endpoint, and fails in one line with another', async () => {
  const read = (name: string) => readFileSync(fixture(`tls/${name}`), 'utf8');
  const server = await serve({}, { tls: { key: read('server.key'), cert: read('server.crt') } });
  const { engine } = await open([server], { ca: read('server.crt'), token: 'secret-token' });
  const one = { ...evaluation(1), conditioning: [engine.register(TEXTS[0])] };
  assert.deepEqual((await engine.run([one])).outputs, [[expected(1, 1)]]);
  assert.equal(server.received[0].headers.authorization, 'Bearer secret-token');
  for (const ca of [undefined, read('other.crt')]) {
    await assert.rejects(open([server], { ca, token: 'secret-token' }), (error: SrdsError) => {
      assert.equal(error.code, 'DEVICE_UNAVAILABLE');
      assert.match(error.message, /certificate that is not trusted.*--endpoint-ca/);
      assert.doesNotMatch(error.message, /secret-token|\n/);
      return true;
    });
  }
});

test('closing an engine abandons its requests', async () => {
  const server = await serve();
  server.faultOf = () => ({ kind: 'hang' });
  const { engine } = await open([server]);
  const running = engine.run([{ ...evaluation(1), conditioning: [engine.register(TEXTS[0])] }]);
  running.catch(() => undefined);
  await until(() => server.received.length > 0);
  await engine.close();
  await assert.rejects(running, { code: 'ENGINE_FAILED', message: /closed engine/ });
});
