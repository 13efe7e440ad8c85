import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { SrdsError } from '../errors.js';
import { fileExists, readJson, readText } from './files.js';

const vocabulary = z.record(z.string(), z.int().min(0));
const token = z.union([z.string(), z.object({ content: z.string() }).transform(({ content }) => content)]);
const tokenizerConfig = z.object({
  model_max_length: z.number().positive().optional(),
  bos_token: token.optional(),
  eos_token: token.optional(),
  unk_token: token.nullish(),
  pad_token: token.nullish(),
});

/** Byte-level BPE has two tokens for each byte: within a word and at its end. */
const BYTE_TOKENS = 2 * 256;

/** A prompt as token ids for CLIP's text encoder. */
export interface Tokens {
  /** Token ids of start, words, end and padding, [maxLength]. */
  readonly ids: readonly number[];
  /** The end of the prompt, as far as it was truncated; empty if the prompt fits. */
  readonly cut: string;
}

/** CLIP's byte-level BPE, as transformers' CLIPTokenizerFast. */
export interface ClipTokenizer {
  /** Number of token ids, special tokens included. */
  readonly maxLength: number;
  encode(text: string): Tokens;
}

/**
 * Reads vocab.json, merges.txt and tokenizer_config.json of a tokenizer in a model folder.
 * @param name name of the subfolder, such as `tokenizer`
 * @param encoder limits of the text encoder: number of positions and number of tokens
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID
 */
export async function readTokenizer(
  folder: string,
  name: string,
  encoder: { readonly maxLength: number; readonly vocabulary: number },
): Promise<ClipTokenizer> {
  const vocab = await readJson(folder, `${name}/vocab.json`, vocabulary);
  const merges = parseMerges(await readText(folder, `${name}/merges.txt`));
  const config = {
    ...(await readSpecialTokens(folder, name)),
    ...(await readJson(folder, `${name}/tokenizer_config.json`, tokenizerConfig)),
  };
  const { bos_token: bos = '<|startoftext|>', eos_token: eos = '<|endoftext|>' } = config;
  const pad = config.pad_token ?? eos;
  const specials = [...new Set([bos, eos, pad, config.unk_token ?? eos])];
  const maxLength = Math.min(config.model_max_length ?? encoder.maxLength, encoder.maxLength);

  const ids = Object.values(vocab);
  const broken = (found: string): SrdsError =>
    new SrdsError(
      'MODEL_INVALID',
      `a complete CLIP tokenizer that fits the text encoder in ${join(folder, name)}`,
      found,
      'restore vocab.json and merges.txt as published with the model',
    );
  const missing = [bos, eos, pad].find((special) => !(special in vocab));
  if (missing !== undefined) throw broken(`no token ${missing} in vocab.json`);
  const unknown = merges.find((pair) => pair.length !== 2 || !(pair.join('') in vocab));
  if (unknown) throw broken(`the merge "${unknown.join(' ')}", whose result is not in vocab.json`);
  const expected = BYTE_TOKENS + merges.length + new Set([bos, eos]).size;
  if (ids.length !== expected) throw broken(`${ids.length} tokens where ${merges.length} merges make ${expected}`);
  const highest = ids.reduce((max, id) => Math.max(max, id), 0);
  if (highest >= encoder.vocabulary) throw broken(`token ${highest}; the text encoder has ${encoder.vocabulary}`);

  const tokenizer = new Tokenizer(
    description(vocab, merges, specials, { bos, eos, unk: config.unk_token ?? eos }),
    config,
  );
  return {
    maxLength,
    encode(text) {
      const words = tokenizer.encode(text, { add_special_tokens: false }).ids;
      const kept = words.slice(0, maxLength - 2);
      const used = [vocab[bos], ...kept, vocab[eos]];
      const padding = Array<number>(maxLength - used.length).fill(vocab[pad]);
      const rest = words.slice(kept.length);
      const cut =
        rest.length > 0
          ? tokenizer
              .decode(rest)
              .replace(/^\uFFFD+/, '')
              .trim()
          : '';
      return { ids: [...used, ...padding], cut };
    },
  };
}

/** Older folders name the padding token in special_tokens_map.json only. */
async function readSpecialTokens(folder: string, name: string): Promise<Partial<z.output<typeof tokenizerConfig>>> {
  const file = `${name}/special_tokens_map.json`;
  return (await fileExists(folder, file)) ? readJson(folder, file, tokenizerConfig) : {};
}

function parseMerges(text: string): string[][] {
  return text
    .split(/\r?\n/)
    .filter((line, i) => line !== '' && !(i === 0 && line.startsWith('#version')))
    .map((line) => line.split(' '));
}

/** The tokenizer.json that transformers' CLIPConverter makes of the two files. */
function description(
  vocab: Readonly<Record<string, number>>,
  merges: readonly string[][],
  specials: readonly string[],
  { bos, eos, unk }: { readonly bos: string; readonly eos: string; readonly unk: string },
): object {
  return {
    version: '1.0',
    added_tokens: specials.map((content) => ({
      id: vocab[content],
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        {
          type: 'Split',
          pattern: {
            Regex: `${escapeRegex(bos)}|${escapeRegex(eos)}|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+`,
          },
          behavior: 'Removed',
          invert: true,
        },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true },
      ],
    },
    post_processor: { type: 'RobertaProcessing', sep: [eos, vocab[eos]], cls: [bos, vocab[bos]] },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: unk,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      vocab,
      merges: merges.map((pair) => pair.join(' ')),
    },
  };
}

function escapeRegex(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
