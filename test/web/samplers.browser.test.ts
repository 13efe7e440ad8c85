import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';
import { launchBrowser } from '../support/browser.js';
import { ROOT } from '../support/fixtures.js';
import { sampleMixture } from '../support/sampleMixture.js';

const MAX_BYTES = 30_000;
const folder = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(folder, { recursive: true }));

/** The bundle of a module as one script, by Vite. Modules of Node are left as imports, so that they can be found. */
async function bundle(source: string): Promise<string> {
  const entry = join(folder, 'entry.mjs');
  writeFileSync(entry, source);
  const output = await build({
    root: folder,
    logLevel: 'silent',
    build: {
      write: false,
      minify: true,
      lib: { entry, formats: ['es'], fileName: 'bundle' },
      rolldownOptions: { external: /^node:/ },
    },
  });
  const [result] = [output].flat();
  assert.ok('output' in result);
  const [chunk] = result.output;
  return chunk.code;
}

const exportsOf = (...modules: string[]) =>
  modules.map((name) => `export * from ${JSON.stringify(`${ROOT}dist/${name}/index.js`)};`).join('\n');

test('samplers, solvers, schedules and random numbers need nothing of Node or zod, in under 30 kB compressed', async () => {
  const code = await bundle(exportsOf('sampler', 'solver', 'schedule', 'random'));
  assert.doesNotMatch(code, /["']node:|ZodError/);
  assert.ok(gzipSync(code).length < MAX_BYTES, `${gzipSync(code).length} bytes`);
});

test('in Chromium SRDS gives the serial sample and the numbers of Node, ===', async () => {
  const code = await bundle(`
    import { sampleMixture } from ${JSON.stringify(`${ROOT}build/test/support/sampleMixture.js`)};
    globalThis.sampled = sampleMixture();`);
  assert.doesNotMatch(code, /["']node:/);
  const browser = await launchBrowser();
  try {
    const page = await browser.newPage();
    await page.addScriptTag({ content: code, type: 'module' });
    const inBrowser: unknown = await page.evaluate('globalThis.sampled');
    const expected = await sampleMixture();
    assert.deepEqual(inBrowser, expected);
    assert.deepEqual(expected.srds, expected.serial);
    assert.equal(expected.status, 'exact');
  } finally {
    await browser.close();
  }
});
