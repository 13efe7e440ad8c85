/** Characters of a prompt for each token that is wanted; words and their spaces take five to six. */
const CHARACTERS = 8;
/** Tokens beyond those wanted: where a word is cut in two, only the tokens beside the cut differ. */
const SPARE = 16;

/**
 * Tokenizes a text as far as its first tokens are wanted. Tokenizers take seconds for the tens of thousands of characters that a request
 * may have, of which an encoder sees the first hundreds.
 * @param wanted number of tokens
 * @returns all tokens of the text, or more than are wanted and the rest of the text
 */
export function tokenizeStart<Token>(
  text: string,
  wanted: number,
  tokenize: (text: string) => readonly Token[],
): { readonly tokens: readonly Token[]; readonly rest: string } {
  const end = endOfStart(text, CHARACTERS * (wanted + SPARE));
  if (end < text.length) {
    const tokens = tokenize(text.slice(0, end));
    if (tokens.length >= wanted + SPARE) return { tokens, rest: text.slice(end) };
  }
  return { tokens: tokenize(text), rest: '' };
}

/** Where to cut a text: between words if there is white space in the second half, and never within a character. */
function endOfStart(text: string, most: number): number {
  if (text.length <= most) return text.length;
  const space = text.slice(0, most).search(/\s\S*$/);
  if (space > most / 2) return space;
  return /[\uD800-\uDBFF]/.test(text[most - 1]) ? most - 1 : most;
}
