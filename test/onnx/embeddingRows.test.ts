import assert from 'node:assert/strict';
import { test } from 'node:test';
import { embeddingRows } from '../../src/onnx/embeddingRows.js';
import { readModel } from '../../src/onnx/readModel.js';
import { fixture } from '../support/fixtures.js';

// Rows of the fixtures' token embeddings: vocab_size of their config.json.
for (const [path, rows] of [
  ['models/sd15/text_encoder', 857],
  ['models/sdxl/text_encoder_2', 857],
  ['models/flux-dev/text_encoder_2', 175],
] as const) {
  test(`${path}: token ids are looked up in a table of ${rows} rows`, async () => {
    const { graph } = await readModel(fixture(`${path}/model.onnx`));
    assert.equal(embeddingRows(graph!, 'input_ids'), rows);
    assert.equal(embeddingRows(graph!, 'another'), undefined);
  });
}
