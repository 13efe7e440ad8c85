import { closest, distance } from 'fastest-levenshtein';

/** Largest edit distance of a misspelt name, relative to the length of the known one. */
const MAX_DISTANCE = 0.4;

/** Characters of a name that are compared. */
const MAX_COMPARED = 100;

/**
 * The known name that is most like a misspelt one, as a question: ` (steps?)`; empty if none is like it.
 * @param prefix that all names have, which is not compared
 */
export function suggestion(name: string, known: readonly string[], prefix = ''): string {
  if (known.length === 0) return '';
  const compared = (text: string) => text.slice(prefix.length, prefix.length + MAX_COMPARED).toLowerCase();
  const byCompared = new Map(known.map((one) => [compared(one), one]));
  const nearest = closest(compared(name), [...byCompared.keys()]);
  const isLike = distance(compared(name), nearest) <= MAX_DISTANCE * nearest.length;
  return isLike ? ` (${byCompared.get(nearest)}?)` : '';
}
