import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { DeviceEngine, parseEndpoint } from 'srds/engine';
import { fixture, relativeError } from '../support/fixtures.js';
import { originalOf } from '../support/networks.js';
import { failureIn, outputOf } from '../support/program.js';
import { startTriton } from '../support/tritonServer.js';

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));

const EXACT =
  /: the same network; rows differ by (0\.0e\+0|\d\.\de-[6-9]) of the largest value alone, (0\.0e\+0|\d\.\de-[6-9]) in batches of 4$/m;

test('Triton loads what was exported when it is asked to, and its rows are those of the local engine', async () => {
  const repository = join(scratch, 'models');
  const write = (model: string, ...flags: string[]) =>
    outputOf({}, 'export-triton', fixture(`models/${model}`), repository, '--backend', 'python', '--force', ...flags);
  await write('sd15');
  const server = await startTriton(repository, '--model-control-mode=explicit');
  try {
    const endpoint = (name: string) => `oip+${server.url}/${name}`;
    const check = (model: string, name: string) =>
      ['export-triton', fixture(`models/${model}`), '--check', endpoint(name)] as const;
    // The model is there and not loaded.
    assert.match((await outputOf({}, ...check('sd15', 'unet'))).stdout, EXACT);
    const flux = await write('flux-dev', '--name', 'flux', '--batches', '1,2,4', '--check', endpoint('flux'));
    assert.match(flux.stdout, EXACT);

    // Requests that come together are put together, and each gets its own row.
    const { file, model, evaluations, rows } = await originalOf(fixture('models/flux-dev'));
    const graph = model.family.network;
    const engine = await DeviceEngine.open(
      { [graph]: file },
      { devices: [parseEndpoint(endpoint('flux'))], endpoints: { graph, inFlight: 4 } },
    );
    const [{ name: output }] = engine.graphs.get(graph)!.outputs;
    const found = await Promise.all(evaluations.map((inputs) => engine.run([{ graph, output, inputs }])));
    found.forEach(({ outputs: [[row]] }, k) => assert.ok(relativeError(row, rows[k]) < 1e-5));
    await engine.close();

    // An export that the server cannot load: it goes on with the one before.
    const onnxRuntime = ['export-triton', fixture('models/sd15'), repository, '--force'];
    const unloadable = await failureIn({}, ...onnxRuntime, '--check', endpoint('unet'));
    assert.equal(unloadable.code, 8);
    assert.match(unloadable.message, /\/unet to load its model, found status \d+ \(.*onnxruntime.*\); see the log/);
    assert.match(unloadable.stdout, /unet: the network of sd15/);
    assert.match((await outputOf({}, ...check('sd15', 'unet'))).stdout, EXACT);

    // Another network under the name of this one, and a name that the repository does not have.
    const other = await failureIn({}, ...check('sd21v', 'unet'));
    assert.deepEqual(
      [other.code, /the network of sd21v at .*\/unet, found rows that differ/.test(other.message)],
      [4, true],
    );
    const missing = await failureIn({}, ...check('sd15', 'missing'));
    assert.equal(missing.code, 8, missing.message);
  } finally {
    await server.stop();
  }
});

test('a Triton that loads models by itself is compared, with a warning that it may run what was there before', async () => {
  const repository = join(scratch, 'fixed');
  const write = ['export-triton', fixture('models/sd15'), repository, '--backend', 'python', '--force'];
  await outputOf({}, ...write);
  const server = await startTriton(repository);
  try {
    const checked = ['--check', `oip+${server.url}/unet`];
    const { stdout, stderr } = await outputOf({}, ...write, ...checked);
    assert.match(stdout, EXACT);
    assert.match(stderr, /^srds: warning: .*\/unet loads models by itself only, so it may still run .*start it again/);
    assert.equal((await outputOf({}, 'export-triton', fixture('models/sd15'), ...checked)).stderr, '');
  } finally {
    await server.stop();
  }
});
