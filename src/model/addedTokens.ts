/** A token that prompts are split at before they are split into words. Source: AddedToken of Hugging Face's tokenizers. */
export interface AddedToken {
  readonly content: string;
  readonly id: number;
  /** Whether it is ignored next to a letter or digit, where it is part of a word. */
  readonly singleWord: boolean;
  /** Whether it takes the white space before it. */
  readonly lstrip: boolean;
  /** Whether it takes the white space after it. */
  readonly rstrip: boolean;
  /** Whether it is looked for in normalized text: in lower case, for example. */
  readonly normalized: boolean;
  /** Whether it counts as text wherever it is found. */
  readonly spelled: boolean;
}

/** A part of a prompt: an added token, or text between such tokens. */
export interface PromptPart {
  readonly text: string;
  readonly token: AddedToken | undefined;
}

/**
 * A function that splits prompts at added tokens: first at those that are not normalized, then, in normalized text, at the
 * others. The texts between them are normalized. Source: AddedVocabulary::extract_and_normalize of Hugging Face's tokenizers.
 * @param normalize normal form of a text
 */
export function addedTokenSplitter(
  tokens: readonly AddedToken[],
  normalize: (text: string) => string,
): (prompt: string) => PromptPart[] {
  const written = new TokenMatcher(tokens.filter((token) => !token.normalized).map((token) => [token.content, token]));
  const normal = new TokenMatcher(
    tokens.filter((token) => token.normalized).map((token) => [normalize(token.content), token]),
  );
  return (prompt) =>
    written.split(prompt).flatMap((part) => (part.token ? [part] : normal.split(normalize(part.text))));
}

const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]';
const WORD_AT_START = new RegExp(`^${WORD}`, 'u');
const WORD_AT_END = new RegExp(`${WORD}$`, 'u');
const WHITE_SPACE = /\p{White_Space}/u;
/** UTF-16 units of the longest character. */
const LONGEST = 2;

/** Finds tokens in a text, the longest one at each place. */
class TokenMatcher {
  private readonly tokens: ReadonlyMap<string, AddedToken>;
  private readonly pattern: RegExp | undefined;

  /** @param tokens each with the text to look for; of equal texts the first counts */
  constructor(tokens: readonly (readonly [string, AddedToken])[]) {
    this.tokens = new Map(tokens.toReversed());
    const texts = [...this.tokens.keys()].toSorted((a, b) => b.length - a.length);
    if (texts.length > 0) this.pattern = new RegExp(texts.map(escapeRegex).join('|'), 'gu');
  }

  split(text: string): PromptPart[] {
    const parts: PromptPart[] = [];
    let end = 0;
    for (const { 0: found, index } of this.pattern ? text.matchAll(this.pattern) : []) {
      const token = this.tokens.get(found);
      let start = index;
      let stop = index + found.length;
      // Where the longest token does not count, no shorter one does.
      if (!token || token.spelled || (token.singleWord && isBesideWord(text, start, stop))) continue;
      while (token.lstrip && start > end && WHITE_SPACE.test(text[start - 1])) start--;
      while (token.rstrip && stop < text.length && WHITE_SPACE.test(text[stop])) stop++;
      if (start > end) parts.push({ text: text.slice(end, start), token: undefined });
      parts.push({ text: text.slice(start, stop), token });
      end = stop;
    }
    if (end < text.length) parts.push({ text: text.slice(end), token: undefined });
    return parts;
  }
}

function isBesideWord(text: string, start: number, stop: number): boolean {
  return (
    WORD_AT_END.test(text.slice(Math.max(0, start - LONGEST), start)) ||
    WORD_AT_START.test(text.slice(stop, stop + LONGEST))
  );
}

function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}
