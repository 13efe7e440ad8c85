import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { srdsCli, start } from '../support/cli.js';
import { fixture } from '../support/fixtures.js';
import { failureIn, outputOf } from '../support/program.js';
import { repositoryInfo } from '../support/hub.js';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const LARGE = 100_000;

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
/** A repository on the hub: a model and files that are not needed. */
const repository = join(scratch, 'repository');
// SDXL's two tokenizers share files.
cpSync(fixture('models/sdxl'), repository, { recursive: true });
writeFileSync(join(repository, 'tokenizer_2/added_tokens.json'), '{}');
writeFileSync(join(repository, 'README.md'), 'a model');
writeFileSync(join(repository, 'unet/diffusion_pytorch_model.safetensors'), Buffer.alloc(1000));

const files = readdirSync(repository, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(repository.length + 1))
  .sort();

/** Requests that the server received, and how it misbehaves. */
let asked: { path: string; range: string | undefined; token: string | undefined }[] = [];
let breakAfter: number | undefined;
let wrong: string | undefined;
let busy = 0;
let short = false;
/** Files other than the index end once this resolves. */
let held = Promise.resolve();
/** Called with each request. */
let onRequest = (): void => undefined;
let hostile: object | undefined;

/** The part of the hub's API that a download needs. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const path = decodeURIComponent((request.url ?? '').split('?')[0]);
  const { range, authorization } = request.headers;
  asked.push({ path, range, token: authorization });
  onRequest();
  const json = (status: number, body: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
  const [, owner] = /^\/(?:api\/models\/)?([\w-]+)\//.exec(path) ?? [];
  if (owner === 'private' && authorization !== 'Bearer hf_secret') return json(401, { error: 'Unauthorized' });
  if (owner === 'missing') return json(404, { error: 'Repository not found' });
  if (owner === 'down') return json(503, { error: 'down' });
  const only = owner === 'torch' ? files.filter((name) => !name.endsWith('.onnx')) : files;
  if (/^\/api\/models\/[^/]+\/[^/]+\/revision\//.test(path)) {
    return path.endsWith('/no-such')
      ? json(404, { error: 'Revision Not Found' })
      : json(200, repositoryInfo('x/y', COMMIT));
  }
  if (/^\/api\/models\/[^/]+\/[^/]+$/.test(path)) return json(200, repositoryInfo('x/y', COMMIT));
  if (/^\/api\/models\/[^/]+\/[^/]+\/tree\//.test(path)) return json(200, hostile ? [hostile] : only.map(treeEntry));
  const [, name] = /^\/[^/]+\/[^/]+\/resolve\/[0-9a-f]{40}\/(.*)$/.exec(path) ?? [];
  if (!name) return json(404, { error: path });
  if (busy > 0) return (busy--, json(503, { error: 'busy' }));
  const content =
    name === wrong ? Buffer.alloc(statSync(join(repository, name)).size) : readFileSync(join(repository, name));
  const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
  if (short) return void response.writeHead(200).end('a page');
  response.writeHead(start > 0 ? 206 : 200, { 'content-length': content.length - start });
  if (breakAfter !== undefined && content.length - start > breakAfter) {
    response.write(content.subarray(start, start + breakAfter), () => response.destroy());
  } else {
    response.write(content.subarray(start, start + 1));
    void (name === 'model_index.json' ? Promise.resolve() : held).then(() => response.end(content.subarray(start + 1)));
  }
}

function treeEntry(path: string) {
  const content = readFileSync(join(repository, path));
  const oid = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
  const lfs = { oid: createHash('sha256').update(content).digest('hex'), size: content.length, pointerSize: 134 };
  return { type: 'file', path, size: content.length, oid, ...(content.length > LARGE ? { lfs } : {}) };
}

const server = createServer(answer);
let endpoint = '';
/** An address that refuses connections. */
let nowhere = '';
before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  nowhere = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
  await new Promise((resolve) => other.close(resolve));
});
after(() => {
  server.close();
  rmSync(scratch, { recursive: true });
});

let home = '';
beforeEach(() => {
  home = mkdtempSync(join(scratch, 'home-'));
  asked = [];
  [breakAfter, wrong, busy, short, hostile] = [undefined, undefined, 0, false, undefined];
  [held, onRequest] = [Promise.resolve(), () => undefined];
});

/** Resolves with the request after which a condition holds. */
function until(holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    onRequest = () => {
      if (holds()) resolve();
    };
  });
}

const OPTIONS = ['--steps', '2', '--json', '--out', 'image.png'];
const environment = (more: Record<string, string> = {}) => ({ HF_HOME: home, HF_ENDPOINT: endpoint, ...more });
const generate = (model: string, more: Record<string, string> = {}) =>
  srdsCli(['generate', 'a red ball', '--model', model, ...OPTIONS], { cwd: home, env: environment(more) });
/** Generates in this process. */
const generateHere = (model: string) =>
  outputOf({ cwd: home, env: environment() }, 'generate', 'a red ball', '--model', model, ...OPTIONS);
/** Fetches a model in this process. @throws AssertionError if that fails */
const fetchModel = (model = 'someone/model', more: Record<string, string> = {}) =>
  outputOf({ cwd: home, env: environment(more) }, 'inspect', model, '--json');
/** The error of a command that fails in this process before it starts a device. */
const failure = (model: string, more: Record<string, string> = {}) =>
  failureIn({ cwd: home, env: environment(more) }, 'generate', 'a red ball', '--model', model, ...OPTIONS);
const fetched = () =>
  asked.filter(({ path }) => path.includes('/resolve/')).map(({ path }) => path.split(`${COMMIT}/`)[1]);

test('owner/name fetches what is needed, once, into the shared cache, and gives the image of the folder', async () => {
  const { stdout } = await generateHere('someone/model');
  const expected = files.filter((name) => !/README|safetensors/.test(name));
  const unique = new Set(expected.map((name) => readFileSync(join(repository, name), 'latin1')));
  assert.equal(fetched().length, unique.size);
  assert.ok(fetched().every((name) => expected.includes(name)));
  const storage = join(home, 'hub/models--someone--model');
  assert.equal(readFileSync(join(storage, 'refs/main'), 'utf8'), COMMIT);
  for (const name of expected) {
    const at = join(storage, 'snapshots', COMMIT, name);
    assert.ok(lstatSync(at).isSymbolicLink());
    assert.deepEqual(readFileSync(at), readFileSync(join(repository, name)));
  }
  assert.deepEqual(
    readdirSync(join(storage, 'blobs')).filter((name) => name.includes('incomplete')),
    [],
  );
  assert.equal((JSON.parse(stdout) as { model: string }).model, 'someone/model');

  const image = readFileSync(join(home, 'image.png'));
  asked = [];
  await fetchModel();
  assert.deepEqual(fetched(), []);
  await generateHere(repository);
  const pixels = (bytes: Buffer) => bytes.subarray(bytes.indexOf('IDAT'));
  assert.deepEqual(pixels(readFileSync(join(home, 'image.png'))), pixels(image));

  asked = [];
  await fetchModel('someone/model', { HF_HUB_OFFLINE: '1' });
  assert.deepEqual(asked, []);
  const cut = await fetchModel('someone/model', { HF_ENDPOINT: nowhere });
  assert.match(
    cut.stderr,
    /srds: warning: the hub cannot be reached, so the copy in the cache is used.*ECONNREFUSED.*\n$/,
  );
});

test('a revision, a token and a cache of its own are honoured', async () => {
  const cache = join(home, 'elsewhere');
  await fetchModel('private/model@fp32/onnx', { HF_TOKEN: 'hf_secret', HF_HUB_CACHE: cache });
  assert.ok(asked.every(({ token }) => token === 'Bearer hf_secret'));
  assert.ok(asked.some(({ path }) => path.endsWith('/revision/fp32/onnx')));
  assert.equal(readFileSync(join(cache, 'models--private--model/refs/fp32/onnx'), 'utf8'), COMMIT);
  assert.ok(!existsSync(join(home, 'hub')));
});

test('a connection that breaks repeatedly is resumed where it ended', async () => {
  breakAfter = 150_000;
  await fetchModel();
  const starts = asked
    .filter(({ path }) => path.endsWith('unet/model.onnx'))
    .map(({ range }) => Number(/^bytes=(\d+)-$/.exec(range ?? 'bytes=0-')?.[1]));
  assert.ok(starts.length > 4);
  assert.equal(starts[0], 0);
  assert.ok(starts.every((start, k) => k === 0 || start >= starts[k - 1]));
});

test('an unfinished download of an earlier run is resumed, also if that run was killed', async () => {
  await fetchModel();
  const { lfs } = treeEntry('unet/model.onnx');
  const blob = join(home, 'hub/models--someone--model/blobs', lfs!.oid);
  writeFileSync(`${blob}.incomplete`, readFileSync(blob).subarray(0, 1234));
  rmSync(blob);
  asked = [];
  await fetchModel();
  assert.deepEqual(
    asked.filter(({ path }) => path.includes('/resolve/')).map(({ range }) => range),
    ['bytes=1234-'],
  );
});

test('two processes that fetch the same model at once both generate', async () => {
  // Files are held back until both processes have listed the repository.
  held = until(() => asked.filter(({ path }) => path.includes('/tree/')).length === 2);
  const both = await Promise.all([generate('someone/model'), generate('someone/model')]);
  for (const { code, stderr } of both) assert.equal(code, 0, stderr);
  assert.equal(fetched().length, new Set(fetched()).size);
});

test('Ctrl-C while something is fetched ends with exit code 130 and no lock; the next run resumes', async () => {
  held = new Promise(() => undefined);
  const downloading = until(() => fetched().length === 4);
  const { child, ended } = start(['generate', 'a red ball', '--model', 'someone/model', ...OPTIONS], {
    cwd: home,
    env: environment(),
  });
  await downloading;
  child.kill('SIGINT');
  const { code, stderr } = await ended;
  assert.equal(code, 130, stderr);
  const left = readdirSync(join(home, 'hub'), { recursive: true }).map(String);
  assert.deepEqual(
    left.filter((name) => name.endsWith('.lock')),
    [],
  );
  held = Promise.resolve();
  await fetchModel();
});

test('the lock of a dead process is taken over', async () => {
  await fetchModel();
  const { oid } = treeEntry('unet/config.json');
  const blob = join(home, 'hub/models--someone--model/blobs', oid);
  rmSync(blob);
  mkdirSync(`${blob}.lock`);
  const longAgo = new Date(Date.now() - 60_000);
  utimesSync(`${blob}.lock`, longAgo, longAgo);
  await fetchModel();
  assert.ok(existsSync(blob) && !existsSync(`${blob}.lock`));
});

test('a busy server is retried', async () => {
  busy = 2;
  await fetchModel();
});

test('every failure is one line that says what was found and what would work', async () => {
  const cases: [string, Record<string, string>, number, RegExp][] = [
    [
      'missing/model',
      {},
      3,
      /a model missing\/model@main .*no folder missing\/model, and none \(404\); check the name.*HF_TOKEN/,
    ],
    ['someone/model@no-such', {}, 3, /someone\/model@no-such.*404/],
    ['private/model', {}, 3, /may not be read.*401.*set HF_TOKEN/],
    ['private/model', { HF_TOKEN: 'hf_wrong' }, 3, /401.*that HF_TOKEN may read it/],
    [
      'torch/model',
      {},
      3,
      /a model\.onnx for each part in torch\/model@main.*none of them an ONNX graph.*optimum-cli export onnx --model torch\/model/,
    ],
    ['down/model', {}, 7, /status 503; try again later/],
    ['someone/model', { HF_ENDPOINT: nowhere }, 7, /reach http:\/\/127\.0\.0\.1:\d+.*ECONNREFUSED.*check the network/],
    [
      'someone/model',
      { HF_HUB_OFFLINE: 'yes' },
      3,
      /in the cache .*HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, found no folder someone\/model, and nothing/,
    ],
    ['someone/model', { HF_ENDPOINT: 'hub' }, 2, /an http address in HF_ENDPOINT, found "hub"/],
    ['someone/model', { HF_TOKEN: 'hf_secret\nx' }, 2, /HF_TOKEN, found characters/],
    ['no-folder', {}, 3, /nothing at no-folder.*owner\/name/],
    ['./no/folder', {}, 3, /nothing at \.\/no\/folder/],
  ];
  for (const [model, more, code, message] of cases) {
    const failed = await failure(model, more);
    assert.match(failed.message, message, model);
    assert.match(failed.message, /^[^\n]*$/);
    assert.deepEqual([failed.code, failed.stdout, failed.stderr], [code, '', ''], failed.message);
  }
  for (const entry of [
    { type: 'file', path: '../../../escaped', size: 1, oid: 'a'.repeat(40) },
    { type: 'file', path: 'unet/model.onnx', size: 1, oid: '../../../escaped' },
  ]) {
    hostile = entry;
    const failed = await failure('someone/model');
    assert.match(failed.message, /a listing of the repository, .*escaped.*HF_ENDPOINT/);
    assert.equal(failed.code, 7);
  }
  hostile = undefined;
  short = true;
  const page = await failure('someone/model');
  assert.match(page.message, /6 of \d+ bytes; check the network/);
  assert.equal(page.code, 7);
  short = false;
  wrong = 'unet/model.onnx';
  const damaged = await generate('someone/model');
  assert.match(
    damaged.stderr,
    /\nsrds: expected unet\/model\.onnx of someone\/model, found [^\n]*another hash; run again[^\n]*\n$/,
  );
  assert.equal(damaged.code, 7);
  wrong = 'tokenizer_2/merges.txt';
  const { message } = await failure('someone/model', { HF_HOME: join(home, 'other') });
  assert.match(message, /merges\.txt of someone\/model.*another hash/);
  wrong = undefined;
  await fetchModel();
});
