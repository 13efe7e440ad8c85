import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { messageOf, SrdsError } from '../errors.js';
import { readJson } from './files.js';
import type { Tokens } from './tokenizer.js';

const id = z.int().min(0);
const description = z.looseObject({
  added_tokens: z.array(z.looseObject({ id, content: z.string() })).default([]),
  model: z.looseObject({
    type: z.literal('Unigram', 'only tokenizers of type Unigram are supported'),
    vocab: z.array(z.tuple([z.string(), z.number()])).min(1),
  }),
});
const token = z.union([z.string(), z.object({ content: z.string() }).transform(({ content }) => content)]);
const tokenizerConfig = z.looseObject({ eos_token: token.default('</s>'), pad_token: token.default('<pad>') });

/** T5's SentencePiece tokenizer, as transformers' T5TokenizerFast. */
export interface T5Tokenizer {
  /** Largest number of token ids, the end included. */
  readonly maxLength: number;
  /** @param length number of token ids: longer texts are truncated before the end, shorter ones padded after it */
  encode(text: string, length: number): Tokens;
}

/**
 * Reads tokenizer.json and tokenizer_config.json of a tokenizer in a model folder.
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
  const config = await readJson(folder, `${name}/tokenizer_config.json`, tokenizerConfig);
  const broken = (found: string, cause?: unknown): SrdsError =>
    new SrdsError(
      'MODEL_INVALID',
      `a complete T5 tokenizer that fits the text encoder in ${join(folder, name)}`,
      found,
      'restore tokenizer.json as published with the model',
      { cause },
    );
  const idOf = (special: string): number => {
    const added = content.added_tokens.find((one) => one.content === special)?.id;
    const found = added ?? content.model.vocab.findIndex(([piece]) => piece === special);
    if (found < 0) throw broken(`no token ${special}`);
    return found;
  };
  const [end, pad] = [idOf(config.eos_token), idOf(config.pad_token)];
  const highest = Math.max(content.model.vocab.length - 1, ...content.added_tokens.map((one) => one.id));
  if (highest >= encoder.vocabulary) throw broken(`token ${highest}; the text encoder has ${encoder.vocabulary}`);
  let tokenizer: Tokenizer;
  try {
    tokenizer = new Tokenizer(content, config);
  } catch (error) {
    throw broken(messageOf(error), error);
  }
  return {
    maxLength: encoder.maxLength,
    encode(text, length) {
      const pieces: readonly (number | undefined)[] = tokenizer.encode(text, { add_special_tokens: false }).ids;
      const known = pieces.filter((piece) => piece !== undefined);
      if (known.length < pieces.length) throw broken('no token for a character that is unknown');
      const kept = known.slice(0, length - 1);
      const rest = known.slice(kept.length);
      const padding = Array<number>(length - kept.length - 1).fill(pad);
      const mask = [...kept, end, ...padding].map((_, position) => (position <= kept.length ? 1 : 0));
      return { ids: [...kept, end, ...padding], mask, cut: rest.length > 0 ? tokenizer.decode(rest).trim() : '' };
    },
  };
}
