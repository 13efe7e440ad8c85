// Runs the compiled tests: node scripts/test.mjs [--layer NAME]... [PREFIX]...
// A layer is the suffix before .test.js (a.browser.test.js); a file without one is a unit test. A prefix names a folder
// or file below test/. Without arguments all layers run. A layer whose requirements are missing fails in one line; the Python layer is
// skipped, in one line too, where PyPI is out of reach.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  options: { layer: { type: 'string', multiple: true } },
  allowPositionals: true,
});

const LAYERS = {
  unit: () => undefined,
  integration: () => undefined,
  shells: missingShells,
  browser: missingBrowser,
  python: missingPython,
};
const layers = values.layer ?? Object.keys(LAYERS);
const unknown = layers.filter((layer) => !(layer in LAYERS));
if (unknown.length > 0) fail(`expected --layer ${Object.keys(LAYERS).join('|')}, found ${unknown.join(', ')}`);

const layerOf = (name) => /\.(\w+)\.test\.js$/.exec(name)?.[1] ?? 'unit';
const selected = readdirSync('build/test', { recursive: true })
  .filter((name) => name.endsWith('.test.js') && layers.includes(layerOf(name)))
  .filter((name) => positionals.length === 0 || positionals.some((prefix) => name.startsWith(prefix)))
  .sort();
if (selected.length === 0) fail('expected at least one test file, found none; check the layer and the prefixes');

// The node:test runner takes files in order: unit tests, which fail first, come first.
const order = Object.keys(LAYERS);
const runnable = [];
for (const layer of order) {
  const files = selected.filter((name) => layerOf(name) === layer);
  const missing = files.length > 0 ? LAYERS[layer]() : undefined;
  if (missing === undefined && layer === 'python' && files.length > 0 && !reachesPypi()) {
    console.error(
      `test: SKIPPED ${files.length} files of the python layer: PyPI is out of reach, and they install packages from it`,
    );
  } else if (missing === undefined) runnable.push(...files.map((name) => `build/test/${name}`));
  else fail(`${layer} layer: ${missing}`);
}
if (runnable.length > 0) {
  const options = ['--test', '--test-concurrency=2', '--test-timeout=600000'];
  const { status } = spawnSync(process.execPath, [...options, ...runnable], { stdio: 'inherit' });
  if (status !== 0) process.exitCode = status ?? 1;
}

function fail(message) {
  console.error(`test: ${message}`);
  process.exitCode = 1;
}

/** The missing requirement of the shells layer; undefined if there is none. */
function missingShells() {
  const missing = ['bash', 'zsh', 'fish'].filter(
    (name) => spawnSync(name, ['-c', 'true'], { stdio: 'ignore' }).status !== 0,
  );
  if (missing.length === 0) return undefined;
  return `expected bash, zsh and fish, found no ${missing.join(' and no ')}; install them (Debian: apt-get install zsh fish)`;
}

/** The missing requirement of the browser layer; undefined if there is none. */
function missingBrowser() {
  const { CHROMIUM } = process.env;
  if (CHROMIUM && !existsSync(CHROMIUM))
    return `expected a Chromium at ${CHROMIUM} (CHROMIUM), found no file; correct or unset CHROMIUM`;
  return undefined;
}

/** Whether a small package can be fetched from PyPI. */
function reachesPypi() {
  const folder = mkdtempSync(join(tmpdir(), 'srds-'));
  try {
    const args = [
      '-m',
      'pip',
      'download',
      '--quiet',
      '--no-deps',
      '--retries',
      '1',
      '--dest',
      folder,
      'iniconfig==2.1.0',
    ];
    return spawnSync('python3', args, { stdio: 'ignore', timeout: 60_000 }).status === 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The missing requirement of the Python layer; undefined if there is none. */
function missingPython() {
  const { status } = spawnSync('python3', ['-c', 'import venv, pip'], { stdio: 'ignore' });
  if (status === 0) return undefined;
  return 'expected Python 3 with venv and pip, found none; install them (Debian: apt-get install python3-venv python3-pip)';
}
