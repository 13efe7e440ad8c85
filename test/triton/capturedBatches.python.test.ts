import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { fixture } from '../support/fixtures.js';
import { outputOf } from '../support/program.js';
import { pythonScript } from '../support/venv.js';

const repository = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(repository, { recursive: true }));
before(() => outputOf({}, 'export-triton', fixture('models/sd15'), repository, '--backend', 'python', '--force'));

const GRAPHS = ['CUDAExecutionProvider', '1'];
const seen = z.object({
  /** Largest difference of each batch to that of a plain session. */
  errors: z.array(z.number()),
  /** Rows of the batches that have a graph. */
  sizes: z.array(z.int()),
  /** Sessions that were opened: their provider, and whether they capture graphs. */
  opened: z.array(z.tuple([z.string(), z.string()])),
  warnings: z.array(z.string()),
});

/** Runs batches of several sizes as on a GPU. @param capturing what capturing a graph comes to */
async function batches(capturing: 'works' | 'differs' | 'fails') {
  const args = [join(repository, 'unet'), capturing];
  const { errors, ...others } = seen.parse(await pythonScript('triton-requirements.txt', 'captured_batches.py', args));
  assert.ok(errors.length === 7 && errors.every((error) => error < 1e-5), errors.join());
  return others;
}

test('batches are padded to the next size, each with a graph of its own, and rows are those of a plain session', async () => {
  assert.deepEqual(await batches('works'), { sizes: [1, 4, 8], opened: [GRAPHS], warnings: [] });
});

test('where a graph cannot be captured, or gives another result, batches run without, in a session that captures none', async () => {
  for (const [capturing, why] of [
    ['fails', /without CUDA graphs: no graph/],
    ['differs', /without CUDA graphs: a replay gave another result, by 1/],
  ] as const) {
    const { sizes, opened, warnings } = await batches(capturing);
    assert.deepEqual([sizes, opened], [[], [GRAPHS, ['CUDAExecutionProvider', '0']]]);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], why);
  }
});
