import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { BUNDLED_MODEL, readTokenizer } from 'srds/model';
import { fixture, reference } from '../support/fixtures.js';

const ENCODER = { maxLength: 77, vocabulary: 857 };

test("token ids equal transformers' CLIPTokenizerFast", async () => {
  const tokenizer = await readTokenizer(fixture('models/sd15'), 'tokenizer', ENCODER);
  const { cases } = JSON.parse(readFileSync(fixture('tokens/clip.json'), 'utf8')) as {
    cases: { text: string; fast: number[] }[];
  };
  for (const { text, fast } of cases) {
    const { ids, cut } = tokenizer.encode(text);
    assert.deepEqual(ids.slice(0, fast.length), fast, text);
    assert.ok(ids.slice(fast.length).every((id) => id === 856));
    assert.deepEqual([ids.length, cut], [77, '']);
  }
});

test("padding and ids equal each pipeline's own", async () => {
  for (const model of ['sd15', 'sd21v']) {
    const tokenizer = await readTokenizer(fixture(`models/${model}`), 'tokenizer', ENCODER);
    const embeddings = reference(`refs/${model}/embeddings`);
    (JSON.parse(embeddings.metadata.prompts) as string[]).forEach((prompt, k) =>
      assert.deepEqual(tokenizer.encode(prompt).ids, embeddings.numbers(`${k}.input_ids`)),
    );
  }
});

test('a prompt that is too long is cut, and what was cut is named', async () => {
  const tokenizer = await readTokenizer(BUNDLED_MODEL, 'tokenizer', { maxLength: 32, vocabulary: 857 });
  const words = 'red ball '.repeat(15).trim();
  const { ids, cut } = tokenizer.encode(`${words} on the beach at night`);
  assert.equal(ids.length, 32);
  assert.deepEqual([ids[0], ids[31]], [855, 856]);
  assert.equal(cut, 'on the beach at night');
  assert.equal(tokenizer.encode(words).cut, '');
});

test('special tokens in a prompt are parsed as such', async () => {
  const tokenizer = await readTokenizer(fixture('models/sd15'), 'tokenizer', ENCODER);
  assert.deepEqual(tokenizer.encode('a<|endoftext|>red').ids.slice(0, 5), [855, 320, 856, 560, 856]);
});

test('of a prompt of tens of thousands of characters the start counts, and all of the rest is named', async () => {
  const tokenizer = await readTokenizer(fixture('models/sd15'), 'tokenizer', ENCODER);
  for (const word of ['red ball ', 'red<|endoftext|>', 'a\u0301\u0323', '\u{1F600}', '\uFDFA']) {
    const start = tokenizer.encode(word.repeat(90));
    const long = tokenizer.encode(word.repeat(3000) + 'the end');
    assert.deepEqual(long.ids, start.ids, word);
    assert.ok(long.cut.length > 2 * start.cut.length && long.cut.endsWith('the end'), word);
  }
});
