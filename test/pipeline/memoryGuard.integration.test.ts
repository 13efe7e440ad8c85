import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Pipeline, type GenerateEvent } from 'srds';
import { DeviceEngine, type Engine } from 'srds/engine';
import { activationMemory, BUNDLED_MODEL, promptMemory, readModelFolder } from 'srds/model';
import { rowsInMemory } from 'srds/pipeline';
import { ownCache } from '../support/cache.js';
import { fixture } from '../support/fixtures.js';
import { changeModel, fixAxis } from '../support/onnx.js';

const cache = ownCache();

test('rows are those that are free, and not many more than the serial sampler takes', () => {
  const need = { denoiserRow: 1e9, others: 2e9, base: 4e9, rowsPerEvaluation: 2, processes: 1 };
  assert.equal(rowsInMemory({ ...need, free: 2.9e9 }), 0);
  assert.equal(rowsInMemory({ ...need, free: 3.5e9 }), 1);
  assert.equal(rowsInMemory({ ...need, free: 4.5e9 }), 2);
  // A tenth of 8 GB is less than another row.
  assert.equal(rowsInMemory({ ...need, free: 100e9 }), 2);
  assert.equal(rowsInMemory({ ...need, base: 14e9, free: 100e9 }), 3);
  // Small rows may take a few hundred megabytes, in all processes together.
  assert.equal(rowsInMemory({ ...need, denoiserRow: 50e6, others: 1e8, base: 1e8, free: 100e9 }), 2 + 5);
  assert.equal(rowsInMemory({ ...need, denoiserRow: 50e6, others: 1e8, base: 1e8, free: 100e9, processes: 2 }), 2 + 2);
  assert.equal(rowsInMemory({ ...need, denoiserRow: 50e6, others: 1e8, base: 1e8, free: 275e6, processes: 2 }), 1);
});

const SIZE = { width: 64, height: 64 };

/** Free memory that suffices for an estimate of so many bytes: estimates may be a tenth too low, and 50 MB. */
const sufficient = (estimate: number) => 1.1 * estimate + 50e6;

/** Generates with so many bytes free. @returns what happened, and the rows of the batches */
async function generateWith(
  free: (engine: Engine, graph: string) => number | undefined,
  sampler: 'serial' | 'srds' | 'auto' = 'srds',
  folder = BUNDLED_MODEL,
) {
  const model = await readModelFolder(folder);
  const files = Object.entries(model.graphs).map(([name, path]) => [name, { path, perRow: 'timestep' }] as const);
  const engine = await DeviceEngine.open(Object.fromEntries(files));
  const bounded = Object.create(engine, { freeMemory: { value: (graph: string) => free(engine, graph) } }) as Engine;
  const pipeline = new Pipeline(model, bounded);
  try {
    const rows = new Set<number>();
    const events: GenerateEvent[] = [];
    const run = pipeline.generate({ prompt: 'a', ...SIZE, sampler, steps: 9, tolerance: 0, previews: false });
    for await (const event of run) {
      events.push(event);
      if (event.type === 'batch') rows.add(event.rows);
    }
    const { images } = await run.result;
    return { rows: [...rows], events, latents: images[0].latents };
  } finally {
    await pipeline.close();
  }
}

test('a run that memory does not suffice for is refused with a size that fits; one row at a time is a warning', async () => {
  const { denoiserRow, vaeRow } = activationMemory(await readModelFolder(BUNDLED_MODEL), SIZE);
  await assert.rejects(
    generateWith(() => sufficient(vaeRow + 0.5 * denoiserRow)),
    {
      code: 'INVALID_OPTION',
      message:
        /^expected about .* MB of free memory for 64x64 pixels on the CPU, found .*; choose a size of at most 48x48/,
    },
  );
  const one = await generateWith(() => sufficient(vaeRow + 1.5 * denoiserRow));
  assert.deepEqual(one.rows, [1]);
  assert.ok(one.events.some((event) => event.type === 'warning' && /one row/.test(event.message)));
  const three = await generateWith(() => sufficient(vaeRow + 3.5 * denoiserRow));
  assert.deepEqual(three.rows, [2]);
  const many = await generateWith(() => 1e12);
  assert.ok(Math.max(...many.rows) > 2);
  assert.deepEqual(one.latents, many.latents);
});

test('where the network runs elsewhere, memory must suffice for decoding only', async () => {
  const { vaeRow } = activationMemory(await readModelFolder(BUNDLED_MODEL), SIZE);
  const decoding = (bytes: number) => generateWith((_, graph) => (graph === 'unet' ? undefined : sufficient(bytes)));
  await assert.rejects(decoding(0.9 * vaeRow), {
    code: 'INVALID_OPTION',
    message: /of free memory for 64x64 pixels on the CPU, found .*; choose a size of at most/,
  });
  const { rows, events } = await decoding(1.1 * vaeRow);
  assert.ok(Math.max(...rows) > 2);
  assert.ok(!events.some((event) => event.type === 'warning'));
});

test('a graph that fixes its batches takes the memory of their padding too', async () => {
  const folder = join(cache, 'fixed');
  cpSync(fixture('models/sd15'), folder, { recursive: true });
  const unet = join(folder, 'unet/model.onnx');
  changeModel(unet, unet, (model) => {
    for (const name of ['sample', 'encoder_hidden_states']) fixAxis(model, name, 0, 8);
  });
  const { denoiserRow, vaeRow } = activationMemory(await readModelFolder(folder), SIZE);
  await assert.rejects(
    generateWith(() => sufficient(vaeRow + 7 * denoiserRow), 'srds', folder),
    { code: 'INVALID_OPTION', message: /of free memory for 64x64 pixels/ },
  );
  const { rows, events } = await generateWith(() => sufficient(vaeRow + 8.5 * denoiserRow), 'srds', folder);
  assert.deepEqual(rows, [8]);
  assert.ok(!events.some((event) => event.type === 'warning'));
});

test('so does a VAE that fixes its batches', async () => {
  const folder = join(cache, 'fixedVae');
  cpSync(fixture('models/sd15'), folder, { recursive: true });
  const decoder = join(folder, 'vae_decoder/model.onnx');
  changeModel(decoder, decoder, (model) => fixAxis(model, 'latent_sample', 0, 8));
  const { denoiserRow, vaeRow } = activationMemory(await readModelFolder(folder), SIZE);
  await assert.rejects(
    generateWith(() => sufficient(7 * vaeRow + 2 * denoiserRow), 'serial', folder),
    { code: 'INVALID_OPTION', message: /of free memory for 64x64 pixels/ },
  );
  const { rows } = await generateWith(() => sufficient(8 * vaeRow + 2.5 * denoiserRow), 'serial', folder);
  assert.deepEqual(rows, [2]);
});

test('so does T5, while it stays loaded', async () => {
  const folder = join(cache, 'fixedT5');
  cpSync(fixture('models/sd3'), folder, { recursive: true });
  const t5 = join(folder, 'text_encoder_3/model.onnx');
  changeModel(t5, t5, (model) => fixAxis(model, 'input_ids', 0, 64));
  const model = await readModelFolder(folder);
  const { denoiserRow, vaeRow } = activationMemory(model, SIZE);
  const prompt = promptMemory(model.textEncoders[2]!, model.sequenceLength!.default);
  assert.ok(prompt > 0);
  const rest = vaeRow + 2.5 * denoiserRow;
  await assert.rejects(
    generateWith(() => sufficient(vaeRow + 63 * prompt), 'serial', folder),
    { code: 'INVALID_OPTION', message: /of free memory for 64x64 pixels/ },
  );
  const { rows } = await generateWith(() => sufficient(64 * prompt + rest), 'serial', folder);
  assert.deepEqual(rows, [2]);
});

test('where memory has no room for larger batches, auto is serial and measures nothing', async () => {
  const { denoiserRow, vaeRow } = activationMemory(await readModelFolder(BUNDLED_MODEL), SIZE);
  const { events, rows } = await generateWith(() => sufficient(vaeRow + 3 * denoiserRow), 'auto');
  assert.deepEqual(rows, [2]);
  assert.deepEqual(
    events.flatMap((event) => (event.type === 'phase' ? [event.phase] : [])),
    ['preparing', 'sampling', 'decoding'],
  );
});

test('what a run leaves in memory counts for the next one, until its process is replaced', async () => {
  const model = await readModelFolder(BUNDLED_MODEL);
  const { denoiserRow, vaeRow } = activationMemory(model, SIZE);
  const files = Object.entries(model.graphs).map(([name, path]) => [name, { path, perRow: 'timestep' }] as const);
  const engine = await DeviceEngine.open(Object.fromEntries(files));
  let [free, restarts] = [sufficient(vaeRow + 2.5 * denoiserRow), 0];
  const bounded = Object.create(engine, {
    freeMemory: { value: () => free },
    restarts: { get: () => restarts },
  }) as Engine;
  const pipeline = new Pipeline(model, bounded);
  const generate = () => pipeline.generate({ prompt: 'a', ...SIZE, sampler: 'serial', steps: 2 }).result;
  try {
    await generate();
    // Enough for what a run may take beyond the estimate.
    free = sufficient(0);
    await generate();
    restarts = 1;
    await assert.rejects(generate(), { code: 'INVALID_OPTION', message: /of free memory for 64x64 pixels/ });
  } finally {
    await pipeline.close();
  }
});
