import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { SrdsError } from 'srds';
import { readTokenizer, type ClipTokenizer } from 'srds/model';
import { fixture } from '../support/fixtures.js';

const SOURCE = fixture('models/sd15/tokenizer');
const read = (file: string) => readFileSync(join(SOURCE, file), 'utf8');
const vocabulary = JSON.parse(read('vocab.json')) as Record<string, number>;
const merges = read('merges.txt').trim().split('\n').slice(1);

const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
after(() => rmSync(scratch, { recursive: true }));
let folders = 0;

/** A tokenizer of JSON files, and of the vocabulary of models/sd15. Text is written as it is. */
function open(files: Readonly<Record<string, unknown>>, embeddings = 900): Promise<ClipTokenizer> {
  const name = `tokenizer${folders++}`;
  const folder = join(scratch, name);
  cpSync(SOURCE, folder, { recursive: true });
  rmSync(join(folder, 'special_tokens_map.json'));
  for (const [file, content] of Object.entries(files)) {
    writeFileSync(join(folder, file), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return readTokenizer(scratch, name, { maxLength: 77, vocabulary: embeddings });
}

/** A tokenizer.json with the vocabulary of models/sd15. */
function whole({ merges: form, ...beside }: Readonly<Record<string, unknown>>): object {
  const pairs = form === 'text' ? merges : merges.map((line) => line.split(' '));
  return { ...beside, model: { type: 'BPE', vocab: vocabulary, merges: pairs } };
}

interface Case {
  readonly name: string;
  readonly files: Readonly<Partial<Record<string, Readonly<Record<string, unknown>>>>>;
  readonly length?: number;
  readonly ids: number[][] | null;
}
const { prompts, cases } = JSON.parse(readFileSync(fixture('tokens/clip_folders.json'), 'utf8')) as {
  prompts: string[];
  cases: Case[];
};

for (const { name, files, length = 0, ids } of cases) {
  test(`token ids equal transformers': ${name}`, async () => {
    const { 'tokenizer.json': json, ...others } = files;
    // vocab.json and merges.txt are not read beside tokenizer.json.
    const broken = { 'vocab.json': '{', 'merges.txt': 'a' };
    const opening = open({ ...others, ...(json && { ...broken, 'tokenizer.json': whole(json) }) });
    if (!ids) return assert.rejects(opening, (error: unknown) => refused(error, /(bos|pad)_token: null/));
    const tokenizer = await opening;
    prompts.forEach((prompt, k) => {
      const padding = Array<number>(length - ids[k].length).fill(ids[k][ids[k].length - 1]);
      assert.deepEqual(tokenizer.encode(prompt).ids, [...ids[k], ...padding], prompt);
    });
  });
}

function refused(error: unknown, message: RegExp): boolean {
  assert.ok(error instanceof SrdsError, String(error));
  assert.equal(error.code, 'MODEL_INVALID');
  assert.doesNotMatch(error.message, /\n/);
  assert.match(error.message, message);
  return true;
}

test('tokens that do not fit the text encoder or the vocabulary are refused, with the file that has them', async () => {
  const config = JSON.parse(read('tokenizer_config.json')) as { added_tokens_decoder: object };
  const { added_tokens_decoder: decoder, ...plain } = config;
  const token = { content: '<cat-toy>' };
  const listed = (id: string, flags: unknown) => ({
    'tokenizer_config.json': { ...config, added_tokens_decoder: { ...decoder, [id]: flags } },
  });
  const added = (tokens: unknown) => ({ 'tokenizer_config.json': plain, 'added_tokens.json': tokens });
  const own = (change: object) => ({ 'tokenizer_config.json': plain, 'tokenizer.json': { ...whole({}), ...change } });
  const vocab = (change: object) => ({ 'vocab.json': { ...vocabulary, ...change } });
  const wrong: [Record<string, unknown>, RegExp][] = [
    [added({ '<cat-toy>': 857 }), /added_tokens\.json, found the token <cat-toy> with the id 857; .* has 857 tokens/],
    [listed('857', token), /tokenizer_config\.json, found the token <cat-toy> with the id 857/],
    [own({ added_tokens: [{ id: 857, ...token }] }), /tokenizer\.json, found the token <cat-toy> with the id 857/],
    [added({ '<cat-toy>': 3 }), /added_tokens\.json, found the token <cat-toy> with the id 3, which is 857/],
    [added({ a: 3 }), /added_tokens\.json, found the token a with the id 3, which is 64/],
    [added({ a: 64, b: 64 }), /added_tokens\.json, found the tokens a and b with the same id 64/],
    [added({ '<cat-toy>': '857' }), /added_tokens\.json, found <cat-toy>: expected number/],
    [{ 'tokenizer_config.json': plain, 'special_tokens_map.json': '{' }, /JSON in .*special_tokens_map\.json/],
    [added('{"<cat-'), /JSON in .*added_tokens\.json/],
    [added([]), /added_tokens\.json/],
    [listed('x', token), /tokenizer_config\.json, found added_tokens_decoder\.x/],
    [listed('857', '<cat-toy>'), /tokenizer_config\.json, found added_tokens_decoder\.857: expected object/],
    [listed('857', { ...token, lstrip: 1 }), /added_tokens_decoder\.857\.lstrip: expected boolean/],
    [{ 'tokenizer_config.json': { ...config, added_tokens_decoder: null } }, /added_tokens_decoder/],
    [{ 'tokenizer_config.json': { ...config, eos_token: 5 } }, /eos_token: expected a token/],
    [{ 'tokenizer_config.json': { ...config, pad_token: '[PAD]' } }, /no token \[PAD\] in vocab\.json/],
    [{ 'tokenizer_config.json': { ...config, model_max_length: 1 } }, /model_max_length/],
    [{ 'tokenizer_config.json': { ...config, model_max_length: '77' } }, /model_max_length/],
    [{ 'tokenizer_config.json': { ...config, padding_side: 'top' } }, /padding_side/],
    [{ 'tokenizer_config.json': plain, 'special_tokens_map.json': { pad_token: 0 } }, /special_tokens_map\.json/],
    [own({ model: { type: 'Unigram', vocab: [['a', 0]] } }), /tokenizer\.json, found model\.type/],
    [own({ model: { type: 'BPE', vocab: vocabulary, merges: merges.slice(9) } }), /tokenizer\.json, found no merge/],
    [own({ model: { type: 'BPE', vocab: vocabulary, merges: ['q q'] } }), /tokenizer\.json, found the merge "q q"/],
    [{ 'tokenizer.json': JSON.stringify(whole({})).slice(0, 9999) }, /JSON in .*tokenizer\.json/],
    [vocab({ '<|x|>': 857 }), /vocab\.json, found token 857; the text encoder has 857 tokens/],
    [{ 'merges.txt': merges.slice(0, -1).join('\n') }, /merges\.txt, found no merge that makes the token house<\/w>/],
  ];
  for (const [files, message] of wrong) {
    await assert.rejects(open(files, 857), (error: unknown) => refused(error, message));
  }
});

test('a part that is cut off is named, with added tokens', async () => {
  const tokenizer = await open({
    'tokenizer_config.json': { model_max_length: 5 },
    'added_tokens.json': { '<cat-toy>': 857, '<cat-toy>_1': 858 },
  });
  const { ids, cut } = tokenizer.encode('a red ball <cat-toy> on the Beach');
  assert.deepEqual([ids.length, cut], [5, '<cat-toy> <cat-toy>_1 on the beach']);
});
