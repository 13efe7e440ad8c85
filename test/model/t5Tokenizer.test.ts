import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readT5Tokenizer } from 'srds/model';
import { fixture } from '../support/fixtures.js';

const ENCODER = { maxLength: 512, vocabulary: 175 };
const FOLDERS = { sd3: 'tokenizer_3', 'flux-dev': 'tokenizer_2' } as const;

const { cases } = JSON.parse(readFileSync(fixture('tokens/t5_tiny.json'), 'utf8')) as {
  cases: (Readonly<Record<'text', string>> & Readonly<Partial<Record<string, number[]>>>)[];
};

for (const [model, name] of Object.entries(FOLDERS)) {
  test(`${model}: token ids equal those of tokenizers, padded with 0 and cut before </s>`, async () => {
    const tokenizer = await readT5Tokenizer(fixture(`models/${model}`), name, ENCODER);
    for (const given of cases) {
      const expected = (given[model] ?? given.sd3)!;
      const { ids, cut } = tokenizer.encode(given.text, expected.length + 3);
      assert.deepEqual(ids, [...expected, 0, 0, 0], given.text);
      assert.equal(cut, '');
      if (expected.length < 4) continue;
      const short = tokenizer.encode(given.text, expected.length - 2);
      assert.deepEqual(short.ids, [...expected.slice(0, -3), 1], given.text);
    }
    assert.equal(tokenizer.encode('two green cones by a grey wall', 6).cut, 'a grey wall');
  });
}

interface FolderCase {
  readonly name: string;
  readonly files: Readonly<Record<string, object>>;
  /** For each prompt rows of 16 and of 32 ids, without repetitions of the last one. */
  readonly ids: readonly (readonly number[][])[];
}
const folders = JSON.parse(readFileSync(fixture('tokens/t5_folders.json'), 'utf8')) as {
  prompts: string[];
  cases: FolderCase[];
};

for (const { name, files, ids } of folders.cases) {
  test(`token ids equal transformers': ${name}`, async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
    try {
      const source = fixture('models/flux-dev/tokenizer_2/tokenizer.json');
      const whole = JSON.parse(readFileSync(source, 'utf8')) as object;
      for (const [file, content] of Object.entries({ 'tokenizer.json': {}, ...files })) {
        const written = file === 'tokenizer.json' ? { ...whole, ...content } : content;
        writeFileSync(join(scratch, file), JSON.stringify(written));
      }
      const tokenizer = await readT5Tokenizer(scratch, '.', { ...ENCODER, vocabulary: 180 });
      folders.prompts.forEach((prompt, k) => {
        [16, 32].forEach((length, row) => {
          const expected = ids[k][row];
          const padding = Array<number>(length - expected.length).fill(expected[expected.length - 1]);
          assert.deepEqual(tokenizer.encode(prompt, length).ids, [...expected, ...padding], prompt);
        });
      });
    } finally {
      rmSync(scratch, { recursive: true });
    }
  });
}

test('sentinels have the ids of transformers, also where no file names them', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
  try {
    cpSync(fixture('models/sd3/tokenizer_3'), scratch, { recursive: true });
    const openWith = (config: object, vocabulary = 300) => {
      writeFileSync(join(scratch, 'tokenizer_config.json'), JSON.stringify(config));
      return readT5Tokenizer(scratch, '.', { ...ENCODER, vocabulary });
    };
    const encode = async (config: object) => {
      const tokenizer = await openWith(config);
      const ids = (text: string) => tokenizer.encode(text, 13).ids;
      return [ids('two <extra_id_0> cones'), ids('<extra_id_7>')];
    };
    const padded = (...ids: number[]) => [...ids, ...Array<number>(13 - ids.length).fill(0)];
    const spelled = padded(3, 2, 57, 127, 83, 2, 116, 113, 2, 163, 2, 1);

    // Transformers 4.57.6 and 5.24.0.
    assert.deepEqual(await encode({}), [padded(7, 175, 15, 37, 1), padded(182, 1)]);
    assert.deepEqual(await encode({ extra_ids: 5 }), [padded(7, 175, 15, 37, 1), spelled]);
    const named = { additional_special_tokens: ['<extra_id_1>', '<extra_id_0>'], extra_ids: 2 };
    assert.deepEqual(await encode(named), [padded(7, 176, 15, 37, 1), spelled]);
    // 4.57.6 alone.
    const further = { additional_special_tokens: ['<cat>'], extra_ids: 3 };
    assert.deepEqual(await encode(further), [padded(7, 176, 15, 37, 1), spelled]);
    // 5.24.0 alone, which saves this.
    assert.deepEqual((await encode({ extra_special_tokens: ['<cat>'], extra_ids: 8 }))[1], spelled);

    const small = await openWith({}, 180);
    assert.deepEqual(small.encode('<extra_id_4>', 2).ids, [179, 1]);
    const message = /a prompt of the 180 tokens .*, found token 180, <extra_id_5>;/;
    assert.throws(() => small.encode('<extra_id_5>', 2), { code: 'INVALID_OPTION', message });
    await assert.rejects(openWith({ extra_ids: null }), { code: 'MODEL_INVALID', message: /extra_ids/ });
  } finally {
    rmSync(scratch, { recursive: true });
  }
});

test('padding and a cut on the left are masked and named', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
  try {
    cpSync(fixture('models/flux-dev/tokenizer_2'), scratch, { recursive: true });
    const file = join(scratch, 'tokenizer_config.json');
    const config = JSON.parse(readFileSync(file, 'utf8')) as object;
    writeFileSync(file, JSON.stringify({ ...config, padding_side: 'left', truncation_side: 'left' }));
    const tokenizer = await readT5Tokenizer(scratch, '.', ENCODER);
    assert.deepEqual(tokenizer.encode('two green', 5).mask, [0, 0, 1, 1, 1]);
    assert.equal(tokenizer.encode('two green cones by a grey wall', 4).cut, 'two green cones by');
  } finally {
    rmSync(scratch, { recursive: true });
  }
});

test('files that do not fit are refused by name', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'srds-'));
  try {
    cpSync(fixture('models/sd3/tokenizer_3'), join(scratch, 't5'), { recursive: true });
    const file = join(scratch, 't5/tokenizer.json');
    const content = JSON.parse(readFileSync(file, 'utf8')) as { added_tokens: object[]; model: object };
    const openWith = (change: object, encoder = ENCODER) => {
      writeFileSync(file, JSON.stringify({ ...content, ...change }));
      return readT5Tokenizer(scratch, 't5', encoder);
    };
    const code = 'MODEL_INVALID';
    await assert.rejects(openWith({}, { ...ENCODER, vocabulary: 174 }), { code, message: /token 174; .* has 174/ });
    await assert.rejects(openWith({ model: { type: 'BPE', vocab: {} } }), { code, message: /Unigram/ });
    await assert.rejects(openWith({ added_tokens: [], model: { type: 'Unigram', vocab: [['a', 0]] } }), {
      code,
      message: /tokenizer_config\.json, found the token <pad> with the id 0, which is 1/,
    });
    await assert.rejects(openWith({ normalizer: { type: 'None such' } }), { code, message: /None such/ });
    const lacking = await openWith({ model: { ...content.model, unk_id: undefined } });
    assert.throws(() => lacking.encode('漢', 8), { code, message: /unknown/ });
  } finally {
    rmSync(scratch, { recursive: true });
  }
});

test('of a prompt of tens of thousands of characters the start counts, and all of the rest is named', async () => {
  const tokenizer = await readT5Tokenizer(fixture('models/sd3'), 'tokenizer_3', ENCODER);
  for (const words of ['red ball ', 'two green cones\nby a grey\twall  ']) {
    const start = tokenizer.encode(words.repeat(60), 50);
    const long = tokenizer.encode(words.repeat(3000) + 'the end', 50);
    assert.deepEqual(long.ids, start.ids, words);
    assert.ok(long.cut.length > 2 * start.cut.length && long.cut.endsWith('the end'), words);
  }
  // Each of these characters is normalized to a word of eighteen.
  assert.throws(() => tokenizer.encode('\uFDFA'.repeat(32_000), 50), {
    code: 'INVALID_OPTION',
    message: /a prompt that can be tokenized, found one of 32000 characters/,
  });
});

test('a word longer than any prompt is tokenized whole', async () => {
  const tokenizer = await readT5Tokenizer(fixture('models/sd3'), 'tokenizer_3', ENCODER);
  const word = 'redball'.repeat(1500);
  const whole = tokenizer.encode(word, 20_000);
  assert.deepEqual(tokenizer.encode(word, 50).ids.slice(0, 49), whole.ids.slice(0, 49));
});
