import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { start } from '../support/cli.js';
import { ROOT } from '../support/fixtures.js';
import { changeModel, optimizedForCuda } from '../support/onnx.js';
import { failureIn } from '../support/program.js';
import { addressOf, assertError, childrenOf, metric, post, ready, SD15, startTiny, until } from '../support/server.js';

const GENERATE = '/v1/images/generations';

test('a device process that is killed during a generation is replaced, and the image is the same', async () => {
  const { child } = start(['serve', '--port', '0', '--model', SD15, '--threads', '1']);
  const base = await addressOf(child);
  await ready(base);
  const options = { prompt: 'a red ball', seed: 3, steps: 80, sampler: 'serial' };
  const imageOf = ({ body }: { body: unknown }) => (body as { data: { b64_json: string }[] }).data[0].b64_json;
  const expected = imageOf(await post(base, GENERATE, options));
  const again = post(base, GENERATE, options);
  await until(async () => (await metric(base, 'srds_running')) === 1);
  for (const pid of await childrenOf(child.pid!)) process.kill(pid, 'SIGKILL');
  assert.equal(imageOf(await again), expected);
  // SIGHUP reopens the models; requests in the meantime are unaffected.
  const before = await childrenOf(child.pid!);
  const meanwhile = post(base, GENERATE, options);
  child.kill('SIGHUP');
  assert.equal(imageOf(await meanwhile), expected);
  await until(async () => {
    const now = await childrenOf(child.pid!);
    return now.length > 0 && now.every((pid) => !before.includes(pid));
  });
  assert.equal(imageOf(await post(base, GENERATE, options)), expected);
  child.kill('SIGTERM');
  await new Promise((resolve) => child.once('close', resolve));
});

test('a server whose first model can never be loaded ends with its error', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'srds-'));
  try {
    cpSync(SD15, folder, { recursive: true });
    const file = join(folder, 'unet/model.onnx');
    changeModel(file, file, optimizedForCuda);
    const { code, stderr } = await start(['serve', '--port', '0', '--model', folder, '--threads', '1']).ended;
    assert.equal(code, 4);
    assert.match(stderr, /^srds: expected a graph that runs on cpu in .*NhwcConv\); use --device cuda, or export it/m);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('device processes do not see keys, and SIGTERM ends a stopped one', async () => {
  const secrets = { SRDS_API_KEYS: 'a-key-of-the-test', HF_TOKEN: 'a-token-of-the-test' };
  const { child, ended } = start(['serve', '--port', '0', '--model', SD15, '--threads', '1'], {
    env: { ...secrets, SRDS_QUEUE: '9' },
  });
  await ready(await addressOf(child));
  const [pid] = await childrenOf(child.pid!);
  const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
  for (const secret of Object.values(secrets)) assert.ok(!environment.includes(secret));
  assert.match(environment, /SRDS_QUEUE=9/);
  process.kill(pid, 'SIGSTOP');
  child.kill('SIGTERM');
  assert.equal((await ended).code, 0);
  assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

test('SIGTERM lets running and queued requests finish, refuses others, and leaves nothing', async () => {
  const { child, ended } = start(['serve', '--port', '0', '--model', SD15, '--threads', '1'], {
    env: { SRDS_CONCURRENCY: '1', SRDS_API_KEY: 'a-variable-that-is-not-read' },
  });
  const base = await addressOf(child);
  await ready(base);
  const ask = () => post(base, GENERATE, { prompt: 'a', steps: 60, sampler: 'serial' });
  const two = [ask(), ask()];
  await until(async () => (await metric(base, 'srds_queue_length')) === 1);
  const pids = await childrenOf(child.pid!);
  child.kill('SIGTERM');
  await until(async () => (await fetch(`${base}/healthz/ready`)).status === 503);
  const late = await ask();
  assert.equal(late.status, 503);
  assertError(late.body, 'a server that ends');
  assert.deepEqual(
    (await Promise.all(two)).map(({ status }) => status),
    [200, 200],
  );
  const { code, stdout } = await ended;
  assert.equal(code, 0);
  assert.match(stdout, /"msg":"ended"\}\n$/);
  assert.match(stdout, /"variable":"SRDS_API_KEY","msg":"no setting has this variable \(SRDS_API_KEYS\?\)"/);
  assert.doesNotMatch(stdout, /prompt/);
  for (const pid of pids) assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

test('an answer that is being read slowly is sent whole before the server ends', async () => {
  const { child, ended } = start(['serve', '--port', '0', '--model', SD15, '--threads', '1', '--max-pixels', '150000']);
  const base = await addressOf(child);
  await ready(base);
  const options = { prompt: 'a', steps: 1, n: 10, size: '384x384', sampler: 'serial', guidance: 1 };
  const response = await fetch(base + GENERATE, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(options),
  });
  child.kill('SIGTERM');
  // The server drains: it takes no further request.
  await until(async () => (await fetch(`${base}/healthz/ready`).catch(() => undefined))?.status !== 200);
  const { data } = (await response.json()) as { data: unknown[] };
  assert.equal(data.length, 10);
  assert.equal((await ended).code, 0);
});

test('SIGTERM aborts what does not end in time: an answer for each, then the end', async () => {
  const { child, ended } = start([
    'serve',
    '--port',
    '0',
    '--model',
    SD15,
    '--threads',
    '1',
    '--concurrency',
    '1',
    '--drain',
    '0.2',
  ]);
  const base = await addressOf(child);
  await ready(base);
  const ask = (more: object) => post(base, GENERATE, { prompt: 'a', steps: 250, n: 5, sampler: 'serial', ...more });
  const two = [ask({}), ask({})];
  await until(async () => (await metric(base, 'srds_queue_length')) === 1);
  child.kill('SIGTERM');
  for (const { status, body } of await Promise.all(two)) {
    assert.equal(status, 503);
    assertError(body, 'a server that ends');
  }
  assert.equal((await ended).code, 0);
});

test('a setting that a server cannot start with is one line, with an exit code of its own', async () => {
  const other = await startTiny();
  const cases: [string[], number, RegExp][] = [
    [
      ['--port', new URL(other.url).port],
      9,
      /expected to listen on 127\.0\.0\.1, port \d+, found .*EADDRINUSE.*; .*stop the process/,
    ],
    [['--host', '203.0.113.1', '--allow-anonymous'], 9, /EADDRNOTAVAIL.*; give --host an address of this machine/],
    [['--host', '0.0.0.0'], 2, /API keys to listen on 0\.0\.0\.0/],
    [['--port', 'x'], 2, /a whole number from 0 to 65535 for --port, found "x"/],
    [['--device', 'cuda'], 8, /cuda:0 to be ready for use/],
    [['--model', '/nowhere'], 3, /nowhere/],
    [['--model', SD15, '--model', SD15], 2, /different names, found sd15 twice/],
    [['--config', '/nowhere'], 2, /settings in \/nowhere, found ENOENT/],
    [['--config', join(ROOT, 'tsconfig.json')], 2, /settings in .*tsconfig\.json, found .*compilerOptions/],
  ];
  try {
    for (const [args, exit, pattern] of cases) {
      const { code, message, stdout, stderr } = await failureIn({}, 'serve', ...args, '--log-level', 'silent');
      assert.deepEqual([code, stdout, stderr], [exit, '', ''], message);
      assert.match(message, /^expected [^\n]+, found [^\n]+; [^\n]+$/);
      assert.match(message, pattern);
    }
    // As a process, which ends although it had begun to start.
    const [[args, exit, pattern]] = cases;
    const { code, stderr } = await start(['serve', ...args, '--log-level', 'silent']).ended;
    assert.equal(code, exit, stderr);
    assert.match(stderr, /^srds: expected [^\n]+, found [^\n]+; [^\n]+\n$/);
    assert.match(stderr, pattern);
  } finally {
    await other.close();
  }
  const { code, message } = await failureIn({ env: { SRDS_QUEUE: 'many' } }, 'serve');
  assert.equal(code, 2);
  assert.match(message, /for SRDS_QUEUE, found "many" in the environment/);
});

test('flags override the environment, which overrides the file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'srds-'));
  const file = join(folder, 'srds.json');
  writeFileSync(
    file,
    JSON.stringify({ port: 0, models: [SD15], threads: 1, maxSteps: 3, maxImages: 3, logPrompts: true }),
  );
  const { child, ended } = start(['serve', '--config', file, '--max-steps', '5'], {
    env: { SRDS_MAX_STEPS: '4', SRDS_MAX_IMAGES: '2', SRDS_API_KEYS: 'one-of-two,the-other' },
  });
  try {
    const base = await addressOf(child);
    await ready(base);
    const key = { authorization: 'Bearer the-other' };
    assert.equal((await post(base, GENERATE, { prompt: 'a' })).status, 401);
    assert.equal((await post(base, GENERATE, { prompt: 'said in the log', steps: 5 }, key)).status, 200);
    assert.equal((await post(base, GENERATE, { prompt: 'a', steps: 6 }, key)).status, 400);
    assert.equal((await post(base, GENERATE, { prompt: 'a', n: 3 }, key)).status, 400);
  } finally {
    child.kill('SIGTERM');
    rmSync(folder, { recursive: true });
  }
  const { stdout } = await ended;
  assert.match(stdout, /"prompt":"said in the log"/);
});
