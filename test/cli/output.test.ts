import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { imagePath, writeFiles } from '../../src/cli/output.js';

const folder = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(folder, { recursive: true }));

test('images are named by a file, a folder, a pattern or the prompt in any script', async () => {
  mkdirSync(join(folder, 'there'));
  const cases: [out: string | undefined, prompt: string, several: boolean, expected: string][] = [
    ['deep/er/one.png', 'a red ball', false, 'deep/er/one.png'],
    ['there', 'A red ball!', false, 'there/a-red-ball-seed8.png'],
    ['new/', 'a red ball', false, 'new/a-red-ball-seed8.png'],
    ['x{seed}y.png', 'a red ball', true, 'x8y.png'],
    ['two.png', 'a red ball', true, 'two-8.png'],
  ];
  for (const [out, prompt, several, expected] of cases) {
    const path = await imagePath(`${folder}/${out}`, prompt, several);
    assert.equal(path(8n), join(folder, expected), out);
  }
  assert.equal((await imagePath(undefined, '日本語', false))(8n), '日本語-seed8.png');
  assert.equal((await imagePath(undefined, '', true))(8n), 'image-seed8.png');
});

test('files are written all or none', async () => {
  const path = join(folder, 'new/a.png');
  const bytes = new Uint8Array(1);
  for (const other of [path, join(folder, 'new/../new/a.png'), join(folder, 'there')]) {
    const files = [
      { path, bytes },
      { path: other, bytes },
    ];
    await assert.rejects(writeFiles(files), { code: other === path ? 'INVALID_OPTION' : 'OUTPUT_FAILED' });
    assert.deepEqual(readdirSync(folder), ['there']);
  }
  await writeFiles([{ path, bytes }]);
  assert.deepEqual(readdirSync(join(folder, 'new')), ['a.png']);
});

test('symbolic links stay and their targets are written, also ones that do not exist yet', async () => {
  const links = join(folder, 'links');
  mkdirSync(links);
  writeFileSync(join(links, 'real.png'), 'before');
  symlinkSync('real.png', join(links, 'link.png'));
  symlinkSync('link.png', join(links, 'chain.png'));
  symlinkSync('new/none.png', join(links, 'dangling.png'));
  for (const [name, target] of [
    ['link.png', 'real.png'],
    ['chain.png', 'real.png'],
    ['dangling.png', 'new/none.png'],
  ] as const) {
    const path = await imagePath(join(links, name), 'a', false);
    await writeFiles([{ path: path(1n), bytes: Buffer.from(name) }]);
    assert.ok(lstatSync(join(links, name)).isSymbolicLink());
    assert.equal(readFileSync(join(links, target), 'utf8'), name);
  }
  const both = ['real.png', 'chain.png'].map((name) => ({ path: join(links, name), bytes: new Uint8Array(1) }));
  await assert.rejects(writeFiles(both), {
    code: 'INVALID_OPTION',
    message: /^expected a file for each result, found .* for two of them; /,
  });
  symlinkSync('loop.png', join(links, 'loop.png'));
  await assert.rejects(imagePath(join(links, 'loop.png'), 'a', false), { code: 'OUTPUT_FAILED', message: /ELOOP/ });
  const unwritable = imagePath('/proc/{seed}.png', 'a', false, 11n);
  await assert.rejects(unwritable, { code: 'OUTPUT_FAILED', message: /\/proc\/11\.png/ });
});

test('a named pipe is written when it has a reader; without one, a signal ends the waiting', async () => {
  const path = join(folder, 'pipe.png');
  execFileSync('mkfifo', [path]);
  const bytes = Buffer.alloc(2 ** 20, 'srds');
  const controller = new AbortController();
  const waiting = writeFiles([{ path, bytes }], controller.signal);
  controller.abort();
  await assert.rejects(waiting, { code: 'OUTPUT_FAILED' });
  const [, read] = await Promise.all([writeFiles([{ path, bytes }], new AbortController().signal), readFile(path)]);
  assert.ok(read.equals(bytes));
});
