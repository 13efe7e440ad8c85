import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { ROOT } from './support/fixtures.js';

const run = promisify(execFile);

test('the package as packed and installed in an empty folder generates, from its command and from its modules', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'srds-'));
  try {
    const pack = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', cwd], { cwd: ROOT });
    const [{ filename, files }] = JSON.parse(pack.stdout) as [{ filename: string; files: { path: string }[] }];
    const paths = files.map(({ path }) => path);
    assert.ok(paths.includes('models/scenes-128/unet/model.onnx') && paths.includes('LICENSE'));
    assert.ok(!paths.some((path) => /^(src|test|build|\.)/.test(path)), paths.join(' '));

    writeFileSync(join(cwd, 'package.json'), '{ "private": true, "type": "module" }');
    await run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', `./${filename}`], {
      cwd,
    });
    const { stdout } = await run('node_modules/.bin/srds', ['generate', 'a red ball', '--steps', '2', '--json'], {
      cwd,
    });
    assert.equal((JSON.parse(stdout) as { model: string }).model, 'scenes-128');

    const modules = [
      '',
      '/tensor',
      '/random',
      '/schedule',
      '/engine',
      '/run',
      '/solver',
      '/planner',
      '/model',
      '/image',
      '/sampler',
      '/pipeline',
      '/server',
    ];
    const script = `${modules.map((name, k) => `import * as m${k} from 'srds${name}';`).join('\n')}
      console.log([${modules.map((_, k) => `Object.keys(m${k}).length > 0`).join()}].every(Boolean));`;
    writeFileSync(join(cwd, 'use.js'), script);
    assert.equal((await run(process.execPath, ['use.js'], { cwd })).stdout, 'true\n');
  } finally {
    rmSync(cwd, { recursive: true });
  }
});
