import { join } from 'node:path';
import { addedTokenSplitter } from './addedTokens.js';
import { bytePairEncoder, normalized, textOf, tokenOf } from './bytePairs.js';
import { readTokenizerFiles } from './tokenizerFiles.js';
import { tokenizeStart } from './tokenizeStart.js';
import { tokenTable } from './tokenTable.js';

/** A prompt as token ids for CLIP's text encoder. */
export interface Tokens {
  /** Token ids of start, words, end and padding, [maxLength]. */
  readonly ids: readonly number[];
  /** 1 for each id but those of the padding, [maxLength]. */
  readonly mask: readonly number[];
  /** The part of the prompt that was cut off; empty if the prompt fits. */
  readonly cut: string;
}

/** CLIP's byte-level BPE, as transformers' CLIPTokenizerFast. */
export interface ClipTokenizer {
  /** Number of token ids, special tokens included. */
  readonly maxLength: number;
  encode(text: string): Tokens;
}

/** Start and end. */
const FRAME = 2;

/**
 * Reads a CLIP tokenizer in a model folder: tokenizer_config.json, tokenizer.json or vocab.json and merges.txt, and the files that
 * name special and added tokens.
 * @param name name of the subfolder, such as `tokenizer`
 * @param encoder limits of the text encoder: number of positions and number of tokens
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID
 */
export async function readTokenizer(
  folder: string,
  name: string,
  encoder: { readonly maxLength: number; readonly vocabulary: number },
): Promise<ClipTokenizer> {
  const files = await readTokenizerFiles(folder, name);
  const { added, bos, eos, pad, unknown } = tokenTable(files, encoder.vocabulary, join(folder, name));
  const { vocabulary, paddingSide, truncationSide } = files;
  const split = addedTokenSplitter(added, normalized);
  const pieces = bytePairEncoder(vocabulary, files.merges, unknown);
  const contents = new Set(added.map(({ content }) => content));
  const maxLength = Math.min(files.maxLength ?? encoder.maxLength, encoder.maxLength);

  const tokenize = (text: string): Token[] =>
    split(text).flatMap(({ text: part, token }): Token[] =>
      token
        ? [{ id: token.id, text: part, piece: tokenOf(part) }]
        : pieces(part).map((piece) => ({ id: vocabulary[piece], text: piece, piece })),
    );
  const tokensOf = (text: string): Token[] => {
    const tokens = tokenize(text);
    const converted = withVectors(text, tokens, contents);
    return converted === text ? tokens : tokenize(converted);
  };
  return {
    maxLength,
    encode(prompt) {
      const room = maxLength - FRAME;
      const { tokens, rest } = tokenizeStart(prompt, room, tokensOf, { truncationSide, cutsWords: true });
      const first = truncationSide === 'right' ? 0 : Math.max(0, tokens.length - room);
      const kept = tokens.slice(first, first + room);
      const used = [bos, ...kept.map(({ id }) => id), eos];
      const padding = Array<number>(maxLength - used.length).fill(pad);
      const padded = (values: readonly number[], others: readonly number[]) =>
        paddingSide === 'right' ? [...values, ...others] : [...others, ...values];
      const cut = [...tokens.slice(0, first), ...tokens.slice(first + room)].map(({ piece }) => piece);
      return {
        ids: padded(used, padding),
        mask: padded(
          used.map(() => 1),
          padding.map(() => 0),
        ),
        cut: (textOf(cut).trimEnd() + normalized(rest)).replace(/^\uFFFD+/, '').trim(),
      };
    },
  };
}

interface Token {
  readonly id: number;
  /** An added token as the prompt has it, or a token of byte-pair encoding. */
  readonly text: string;
  /** The same in the characters of byte-pair encoding. */
  readonly piece: string;
}

/**
 * A prompt in which each textual inversion of several vectors, `<cat>`, `<cat>_1`, ..., is followed by its further vectors.
 * Source: diffusers, TextualInversionLoaderMixin.maybe_convert_prompt.
 */
function withVectors(prompt: string, tokens: readonly Token[], contents: ReadonlySet<string>): string {
  let converted = prompt;
  for (const text of new Set(tokens.map((token) => token.text))) {
    const further: string[] = [];
    const next = (): string => `${text}_${further.length + 1}`;
    while (contents.has(text) && contents.has(next())) further.push(next());
    if (further.length > 0) converted = converted.replaceAll(text, () => [text, ...further].join(' '));
  }
  return converted;
}
