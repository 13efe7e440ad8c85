import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { childrenOf, post, SD15, SD21V, startTiny, until } from '../support/server.js';

const GENERATE = '/v1/images/generations';

/** A copy of a model named `model`, in a folder of its own whose name has a space. */
function copyOf(model: string): { readonly folder: string; readonly model: string } {
  const folder = mkdtempSync(join(tmpdir(), 'a server '));
  cpSync(model, join(folder, 'model'), { recursive: true });
  return { folder, model: join(folder, 'model') };
}

/** The status and content of an image's answer. */
async function draw(url: string) {
  const { status, body } = await post(url, GENERATE, { prompt: 'a red ball', seed: 3, steps: 6, sampler: 'serial' });
  const { data, error } = body as { data?: { b64_json: string }[]; error?: { message: string; code: string } };
  return { status, image: data?.[0].b64_json, ...error };
}

const readiness = async (url: string, of = '') => (await fetch(`${url}/healthz/ready${of}`)).status;

test('a model that is deleted serves as long as it is loaded; then its requests fail without a path, and readiness says so', async () => {
  const { folder, model } = copyOf(SD15);
  const server = await startTiny({ models: [model, SD21V] });
  try {
    const { image } = await draw(server.url);
    renameSync(model, `${model}-gone`);
    assert.deepEqual(await draw(server.url), { status: 200, image });
    await server.restart();
    assert.deepEqual(await draw(server.url), { status: 200, image });
    assert.equal(await readiness(server.url), 200);
    // A process that takes the place of one that died would have to read the files.
    for (const pid of await childrenOf(process.pid)) process.kill(pid, 'SIGKILL');
    for (let k = 0; k < 3; k++) {
      const { status, message = '' } = await draw(server.url);
      assert.equal(status, 503);
      assert.ok(!message.includes('a server') && !message.includes(tmpdir()), message);
    }
    assert.equal((await draw(server.url)).code, 'model_unavailable');
    assert.deepEqual(
      await Promise.all(['', '/model', '/sd21v'].map((of) => readiness(server.url, of))),
      [503, 503, 200],
    );
    renameSync(`${model}-gone`, model);
    assert.deepEqual(await draw(server.url), { status: 200, image });
    assert.equal(await readiness(server.url), 200);
  } finally {
    await server.close();
    rmSync(folder, { recursive: true });
  }
});

test('a reload reads all files anew, those of the scheduler too; files that do not open change nothing', async () => {
  const { folder, model } = copyOf(SD15);
  const server = await startTiny({ models: [model] });
  try {
    const { image } = await draw(server.url);
    const path = join(model, 'scheduler/scheduler_config.json');
    const config = JSON.parse(readFileSync(path, 'utf8')) as object;
    writeFileSync(path, JSON.stringify({ ...config, beta_start: 0.002 }));
    assert.deepEqual(await draw(server.url), { status: 200, image });
    await server.restart();
    const changed = await draw(server.url);
    assert.equal(changed.status, 200);
    assert.notEqual(changed.image, image);
    const fresh = await startTiny({ models: [model] });
    assert.equal((await draw(fresh.url)).image, changed.image);
    await fresh.close();
    writeFileSync(path, '{');
    await server.restart();
    assert.deepEqual(await draw(server.url), changed);
    writeFileSync(path, JSON.stringify(config));
    writeFileSync(join(model, 'unet/model.onnx'), 'no graph');
    await server.restart();
    assert.deepEqual(await draw(server.url), changed);
  } finally {
    await server.close();
    rmSync(folder, { recursive: true });
  }
});

test('readiness turns 503 while the devices hang, and 200 once they are replaced', async () => {
  const server = await startTiny();
  try {
    assert.equal(await readiness(server.url), 200);
    for (const pid of await childrenOf(process.pid)) process.kill(pid, 'SIGSTOP');
    await until(async () => (await readiness(server.url)) === 503);
    assert.equal((await draw(server.url)).status, 200);
    assert.equal(await readiness(server.url), 200);
  } finally {
    await server.close();
  }
});
