import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { ROOT } from './support/fixtures.js';

const run = promisify(execFile);

test('the package as packed, with its dependencies only, generates, from its command and from its modules', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'srds-'));
  try {
    const pack = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', cwd], { cwd: ROOT });
    const [{ filename, files }] = JSON.parse(pack.stdout) as [{ filename: string; files: { path: string }[] }];
    const paths = files.map(({ path }) => path);
    assert.ok(paths.includes('models/scenes-128/unet/model.onnx') && paths.includes('LICENSE'));
    assert.ok(!paths.some((path) => /^(src|test|build|\.)/.test(path)), paths.join(' '));

    writeFileSync(join(cwd, 'package.json'), '{ "private": true, "type": "module" }');
    const installed = join(cwd, 'node_modules/srds');
    mkdirSync(installed, { recursive: true });
    await run('tar', ['-xzf', filename, '--strip-components=1', '-C', installed], { cwd });
    const { bin, dependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as {
      bin: { srds: string };
      dependencies: Record<string, string>;
    };
    // The package finds no other packages than these. They are installed already, by npm ci, in these versions.
    for (const name of Object.keys(dependencies)) {
      const link = join(cwd, 'node_modules', name);
      mkdirSync(dirname(link), { recursive: true });
      symlinkSync(join(ROOT, 'node_modules', name), link);
    }
    const generate = ['generate', 'a red ball', '--steps', '2', '--json'];
    const { stdout } = await run(join(installed, bin.srds), generate, { cwd });
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
