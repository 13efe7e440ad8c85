import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startNode } from './support/cli.js';
import { ROOT } from './support/fixtures.js';

test('the pipeline example, with fewer steps, generates an image and follows its iterations', async () => {
  // In the folder of the examples, which find the package by its name.
  const cwd = mkdtempSync(`${ROOT}build/examples/fewer-`);
  try {
    const file = join(cwd, 'generate.js');
    const whole = readFileSync(`${ROOT}build/examples/generate.js`, 'utf8');
    const fewer = whole.replace('steps: 50', 'steps: 12');
    assert.notEqual(fewer, whole);
    writeFileSync(file, fewer);
    const { code, stdout, stderr } = await startNode([file], { cwd }).ended;
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(
      stdout,
      /iteration 0: next change -\niteration 1: next change [\d.]+\n[^]*converged \{ critical: \d\d?,/,
    );
    assert.equal(readFileSync(join(cwd, 'red-ball.png')).toString('latin1', 1, 4), 'PNG');
  } finally {
    rmSync(cwd, { recursive: true });
  }
});

test("the README's example is the one that runs", () => {
  const [, code] = readFileSync(`${ROOT}examples/generate.ts`, 'utf8').split(/^\/\/.*\n/);
  assert.ok(readFileSync(`${ROOT}README.md`, 'utf8').includes(code));
});

test("the example on one's own denoiser ends where the serial sampler does, sooner", async () => {
  const { code, stdout, stderr } = await startNode([`${ROOT}build/examples/own-denoiser.js`]).ended;
  assert.deepEqual([code, stderr], [0, '']);
  const match = /converged: \((.*), (.*)\) in (\d+) [^]*serial: \((.*), (.*)\) in (\d+)/.exec(stdout);
  assert.ok(match, stdout);
  const [a, b, critical, c, d, steps] = match.slice(1).map(Number);
  assert.ok(Math.hypot(a - c, b - d) < 1e-2);
  assert.ok(critical < steps / 2);
});

for (const example of ['own-solver', 'own-sampler', 'own-engine']) {
  test(`the example ${example} passes its conformance suite`, async () => {
    const { code: exit, stdout, stderr } = await startNode([`${ROOT}build/examples/${example}.js`]).ended;
    assert.deepEqual([exit, stderr], [0, '']);
    assert.match(stdout, /^(passed: .*\n)+$/);
    const [, code] = readFileSync(`${ROOT}examples/${example}.ts`, 'utf8').split(/^\/\/.*\n/);
    assert.ok(readFileSync(`${ROOT}docs/extending.md`, 'utf8').includes(code));
  });
}
