import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
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
    await assert.rejects(writeFiles(files), { code: 'OUTPUT_FAILED' });
    assert.deepEqual(readdirSync(folder), ['there']);
  }
  await writeFiles([{ path, bytes }]);
  assert.deepEqual(readdirSync(join(folder, 'new')), ['a.png']);
});
