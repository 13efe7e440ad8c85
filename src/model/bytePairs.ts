import { BPE } from '@huggingface/tokenizers';

/** Ends the last token of a word. */
const WORD_END = '</w>';
const WORDS = /'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\p{White_Space}\p{L}\p{N}]+/gu;
/** A special token that counts as text is apart from the signs after it. */
const PIECES = new RegExp(`<\\|startoftext\\|>|<\\|endoftext\\|>|${WORDS.source}`, 'gu');
const WHITE_SPACE = /\p{White_Space}+/gu;

/** Printable characters that stand for the bytes 0 to 255 in a vocabulary. Source: bytes_to_unicode of OpenAI's GPT-2. */
const BYTE_CHARACTERS: readonly string[] = byteCharacters();
const BYTES: ReadonlyMap<string, number> = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));

/** The tokens that stand for one byte: within a word and at its end. */
export const BYTE_TOKENS: readonly string[] = BYTE_CHARACTERS.flatMap((character) => [character, character + WORD_END]);

/**
 * Normalizes a prompt. Letters are lowercased one by one, so a capital sigma at the end of a word becomes σ, not ς. Source: the normalizer of transformers' CLIPTokenizerFast.
 */
export function normalized(text: string): string {
  const composed = text.normalize('NFC').replace(WHITE_SPACE, ' ');
  return Array.from(composed, (character) => character.toLowerCase()).join('');
}

/** A function that splits normalized text into tokens of byte-pair encoding. @param unknown stands for bytes without a token */
export function bytePairEncoder(
  vocabulary: Readonly<Record<string, number>>,
  merges: readonly (readonly string[])[],
  unknown: string | undefined,
): (text: string) => string[] {
  const model = new BPE({ vocab: vocabulary, merges, unk_token: unknown, end_of_word_suffix: WORD_END });
  return (text) => model.encode(wordsOf(text).map(inByteCharacters));
}

function wordsOf(text: string): string[] {
  return (text.match(PIECES) ?? []).flatMap((piece) => piece.match(WORDS) ?? []);
}

/** A word as one token, whether a vocabulary has it or not. */
export function tokenOf(word: string): string {
  return inByteCharacters(word) + WORD_END;
}

function inByteCharacters(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => BYTE_CHARACTERS[byte]).join('');
}

/** The text of tokens, with a space after each word. Bytes that are no UTF-8 become U+FFFD. */
export function textOf(tokens: readonly string[]): string {
  const bytes = tokens.flatMap((token) => {
    const ends = token.endsWith(WORD_END);
    const characters = ends ? token.slice(0, -WORD_END.length) : token;
    return [...Array.from(characters, (character) => BYTES.get(character) ?? 0x3f), ...(ends ? [0x20] : [])];
  });
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

/** Whether a token could be a word or a piece of one, rather than a special token such as `<|pad|>`. */
export function isPieceOfWord(token: string): boolean {
  const text = textOf([token]).trim();
  return text.match(WORDS)?.[0] === text;
}

function byteCharacters(): string[] {
  const printable = (byte: number): boolean => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  let next = 0x100;
  return Array.from({ length: 0x100 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
}
