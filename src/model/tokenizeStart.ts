/** Characters of a prompt for each token that is wanted; words and their spaces take five to six. */
const CHARACTERS = 8;
/** Tokens beyond those wanted: where byte-pair encoding cuts a word in two, the tokens beside the cut differ. */
const SPARE = 16;

/** The start of a prompt as tokens. */
export interface TokenizedStart<Token> {
  /** All tokens of the prompt, or more than are wanted. */
  readonly tokens: readonly Token[];
  /** What of the prompt was not tokenized; it begins with white space if it begins with a word. */
  readonly rest: string;
}

/** How a tokenizer cuts texts. */
export interface Cutting {
  /** The side on which texts are truncated. On the left all of a text is tokenized, since its last tokens are wanted. */
  readonly truncationSide: 'left' | 'right';
  /** Whether the tokens of the beginning of a word are those of the word, the last ones excepted. Otherwise texts are cut between words only. */
  readonly cutsWords: boolean;
}

/**
 * Tokenizes the start of a text, as far as its first tokens are wanted. Tokenizers take seconds for the tens of thousands of characters that
 * a request may have, and an encoder reads only the first hundreds.
 * @param wanted number of tokens
 */
export function tokenizeStart<Token>(
  text: string,
  wanted: number,
  tokenize: (text: string) => readonly Token[],
  { truncationSide, cutsWords }: Cutting,
): TokenizedStart<Token> {
  if (truncationSide === 'left') return { tokens: tokenize(text), rest: '' };
  for (let most = CHARACTERS * (wanted + SPARE); most < text.length; most *= 2) {
    const end = endOfWord(text, most) ?? (cutsWords ? endOfCharacter(text, most) : undefined);
    if (end === undefined) continue;
    const tokens = tokenize(text.slice(0, end));
    if (tokens.length >= wanted + SPARE) return { tokens, rest: text.slice(end) };
  }
  return { tokens: tokenize(text), rest: '' };
}

/** The last white space in the second half of so many characters; undefined if there is none. */
function endOfWord(text: string, most: number): number | undefined {
  for (let at = most - 1; at > most / 2; at--) if (/\s/.test(text[at])) return at;
  return undefined;
}

function endOfCharacter(text: string, most: number): number {
  return /[\uD800-\uDBFF]/.test(text[most - 1]) ? most - 1 : most;
}
