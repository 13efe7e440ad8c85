import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { messageOf, SrdsError } from '../errors.js';
import type { AddedToken } from './addedTokens.js';
import { readJson } from './files.js';
import type { Tokens } from './tokenizer.js';
import { tokenizeStart } from './tokenizeStart.js';
import { ownTokens, readTokenSettings, special, tokenizerFile, type TokenFlags } from './tokenizerFiles.js';
import { checkPlaced, placedTokens } from './tokenTable.js';

/** Beyond this no text encoder has tokens. */
const MAX_SENTINELS = 100_000;

const description = tokenizerFile.loose().extend({
  model: z.looseObject({
    type: z.literal('Unigram', 'only tokenizers of type Unigram are supported'),
    vocab: z.array(z.tuple([z.string(), z.number()])).min(1),
  }),
});

/** What tokenizer_config.json of a T5 tokenizer says beside the settings of all tokenizers. */
const sentinelConfig = z.looseObject({
  extra_ids: z.int().max(MAX_SENTINELS).default(100),
  extra_special_tokens: z.unknown().optional(),
});

/** T5's SentencePiece tokenizer, as transformers' T5TokenizerFast. */
export interface T5Tokenizer {
  /** Largest number of token ids, the end included. */
  readonly maxLength: number;
  /** @param length number of token ids: longer texts are truncated before the end, shorter ones padded after it */
  encode(text: string, length: number): Tokens;
}

/**
 * Reads a T5 tokenizer in a model folder: tokenizer.json, tokenizer_config.json, and the files that name special and added tokens.
 * @param name name of the subfolder, such as `tokenizer_3`
 * @param encoder limits of the family and of the text encoder: number of positions and number of tokens
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID
 */
export async function readT5Tokenizer(
  folder: string,
  name: string,
  encoder: { readonly maxLength: number; readonly vocabulary: number },
): Promise<T5Tokenizer> {
  const content = await readJson(folder, `${name}/tokenizer.json`, description);
  const read = await readTokenSettings(folder, name, 't5', content);
  const broken = (found: string, cause?: unknown, file = 'tokenizer.json'): SrdsError =>
    new SrdsError(
      'MODEL_INVALID',
      `a complete T5 tokenizer that fits the text encoder in ${join(folder, name, file)}`,
      found,
      'restore the files of the tokenizer as published with the model',
      { cause },
    );
  // Unlike CLIP's, the tokens of tokenizer.json count beside an added_tokens_decoder too.
  const settings = { ...read, listed: [...ownTokens(content), ...read.listed] };
  const vocabulary = Object.fromEntries(content.model.vocab.map(([piece], k) => [piece, k]));
  const highest = content.model.vocab.length - 1;
  if (highest >= encoder.vocabulary) throw broken(`token ${highest}; the text encoder has ${encoder.vocabulary}`);
  const config = await readJson(folder, `${name}/tokenizer_config.json`, sentinelConfig);
  const extra = [...settings.extra, ...sentinels(settings.extra, config)];
  const added = placedTokens({ ...settings, extra }, vocabulary);
  // Sentinels may lie beyond the text encoder's tokens: no prompt needs them.
  checkPlaced(placedTokens(settings, vocabulary), settings, {
    embeddings: encoder.vocabulary,
    source: 'tokenizer.json',
    refuse: (file, found) => broken(found, undefined, file),
  });
  const idOf = (role: 'eos_token' | 'pad_token'): number => {
    const id = added.get(settings.special[role]?.content ?? '')?.id;
    if (id === undefined) throw broken(`${role}: null`, undefined, settings.specialSource);
    return id;
  };
  const [end, pad] = [idOf('eos_token'), idOf('pad_token')];
  let tokenizer: Tokenizer;
  try {
    tokenizer = new Tokenizer({ ...content, added_tokens: tokensFound(added) }, {});
  } catch (error) {
    throw broken(messageOf(error), error);
  }
  const idsOf = (text: string): number[] => {
    let pieces: readonly (number | undefined)[];
    try {
      pieces = tokenizer.encode(text, { add_special_tokens: false }).ids;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      const found = `one of ${text.length} characters that is too much for the tokenizer ${name}`;
      throw new SrdsError('INVALID_OPTION', 'a prompt that can be tokenized', found, 'shorten it', { cause: error });
    }
    const known = pieces.filter((piece) => piece !== undefined);
    if (known.length < pieces.length) throw broken('no token for a character that is unknown');
    return known;
  };
  return {
    maxLength: encoder.maxLength,
    encode(text, length) {
      const cutting = { truncationSide: settings.truncationSide, cutsWords: false };
      const { tokens: known, rest: unread } = tokenizeStart(text, length, idsOf, cutting);
      const beyond = known.find((piece) => piece >= encoder.vocabulary);
      if (beyond !== undefined) {
        const [content] = [...added].find(([, { id }]) => id === beyond) ?? [];
        throw new SrdsError(
          'INVALID_OPTION',
          `a prompt of the ${encoder.vocabulary} tokens that the text encoder ${name} has`,
          content === undefined ? `token ${beyond}` : `token ${beyond}, ${content}`,
          'leave it out of the prompt',
        );
      }
      const first = settings.truncationSide === 'right' ? 0 : Math.max(0, known.length - length + 1);
      const kept = known.slice(first, first + length - 1);
      const rest = [...known.slice(0, first), ...known.slice(first + kept.length)];
      const used = [...kept, end];
      const padded = (values: readonly number[], value: number) => {
        const padding = Array<number>(length - used.length).fill(value);
        return settings.paddingSide === 'right' ? [...values, ...padding] : [...padding, ...values];
      };
      return {
        ids: padded(used, pad),
        mask: padded(Array<number>(used.length).fill(1), 0),
        cut: rest.length > 0 ? (tokenizer.decode(rest) + unread).trim() : '',
      };
    },
  };
}

/**
 * The sentinels `<extra_id_0>`, `<extra_id_1>`, ... that the files do not name. They are special tokens unless the files name others, or
 * are of transformers 5, which lists all in extra_special_tokens.
 * Source: T5TokenizerFast of transformers 4.57. Of its files transformers 5 leaves the sentinels out that stand beside other tokens.
 */
function sentinels(
  named: readonly TokenFlags[],
  { extra_ids: count, extra_special_tokens: listed }: z.output<typeof sentinelConfig>,
): TokenFlags[] {
  if (Array.isArray(listed) || named.some(({ content }) => content.includes('<extra_id_'))) return [];
  return Array.from({ length: Math.max(0, count) }, (_, k) => special(`<extra_id_${k}>`));
}

/** The added tokens that are looked for in a prompt, as the tokenizer takes them. */
function tokensFound(added: ReadonlyMap<string, AddedToken>): object[] {
  return [...added.values()].flatMap(({ spelled, singleWord, ...token }) =>
    spelled ? [] : [{ ...token, single_word: singleWord }],
  );
}
