import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Pipeline, SrdsError } from 'srds';
import { DeviceEngine, type GraphFile } from 'srds/engine';
import { inspectModel, readModelFolder, type ImageSize, type ModelFolder } from 'srds/model';
import { graphFiles } from '../../src/model/modelFolder.js';
import { fixture } from '../support/fixtures.js';
import { copyOf, Dice, mutate } from '../support/mutations.js';

/** Number of folders; FUZZ_FOLDERS=1000 for more, FUZZ_SEED=7 or FUZZ_FROM=500 for others. */
const { FUZZ_FOLDERS = '40', FUZZ_SEED = '1', FUZZ_FROM = '0' } = process.env;
const MODELS = ['sd15', 'sd21v', 'sdxl', 'flux-dev', 'flux-schnell', 'sd3', 'sd3-no-t5'];
/** What a folder may cause: exit codes 2, 3 and 4. */
const CODES: readonly string[] = ['INVALID_OPTION', 'MODEL_NOT_FOUND', 'MODEL_INVALID'];
const LIMIT_MS = 60_000;

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
/** The graphs of the folder that is tried now. */
const files: Record<string, GraphFile> = {};
const engine = await DeviceEngine.open(files, { graphs: [], threads: 1 });
after(async () => {
  await engine.close();
  rmSync(scratch, { recursive: true });
});

/** A small image where the graphs allow any; a tiny Flux, too, works on thousands of tokens at its own size. */
function smallSize({ fixed, fixedImageTokens, sizeStep }: ModelFolder): Partial<ImageSize> {
  const isFree = fixed.width === undefined && fixed.height === undefined && fixedImageTokens === undefined;
  return isFree ? { width: 8 * sizeStep, height: 8 * sizeStep } : {};
}

/** Reads, inspects and opens a folder, and takes two steps. @returns the image */
async function generate(folder: string): Promise<Uint8Array> {
  const model = await readModelFolder(folder);
  inspectModel(model);
  for (const name of Object.keys(files)) Reflect.deleteProperty(files, name);
  Object.assign(files, graphFiles(model));
  try {
    await engine.load(Object.keys(files).filter((name) => name !== 'vae_encoder'));
    const pipeline = new Pipeline(model, engine);
    const request = { prompt: 'a red ball', steps: 2, guidance: 3, tolerance: 0, ...smallSize(model) };
    const { images } = await pipeline.generate(request).result;
    assert.ok(images[0].latents.every(Number.isFinite));
    return images[0].rgb!.data;
  } finally {
    await engine.unload([...engine.graphs.keys()]);
  }
}

test('a mutated folder gives an image, or one line that says what is wrong with it', async () => {
  const failures: string[] = [];
  const outcomes = new Map<string, number>();
  for (let k = Number(FUZZ_FROM); k < Number(FUZZ_FROM) + Number(FUZZ_FOLDERS); k++) {
    const dice = new Dice(Number(FUZZ_SEED) * 1_000_003 + k);
    const folder = join(scratch, 'model');
    copyOf(fixture(`models/${dice.one(MODELS)}`), folder);
    const what = `${k}: ${mutate(folder, dice).replaceAll(`${folder}/`, '')}`;
    const start = performance.now();
    const outcome = await generate(folder).then(
      () => 'image',
      (error: unknown) => error,
    );
    if (performance.now() - start > LIMIT_MS) failures.push(`${what}: took too long`);
    const name = outcome instanceof SrdsError ? outcome.code : outcome === 'image' ? outcome : 'other';
    outcomes.set(name, (outcomes.get(name) ?? 0) + 1);
    if (outcome === 'image') continue;
    const isOne = outcome instanceof SrdsError && CODES.includes(outcome.code) && !outcome.message.includes('\n');
    if (!isOne)
      failures.push(`${what}: ${outcome instanceof Error ? (outcome.stack ?? outcome.message) : String(outcome)}`);
    else if (process.env.FUZZ_VERBOSE) console.error(`${what}: ${outcome.message}`);
  }
  assert.deepEqual(failures, [], JSON.stringify([...outcomes]));
  // Both happen, or the mutations do too much or too little.
  assert.ok(
    (outcomes.get('image') ?? 0) > 0 && (outcomes.get('MODEL_INVALID') ?? 0) > 0,
    JSON.stringify([...outcomes]),
  );
});
