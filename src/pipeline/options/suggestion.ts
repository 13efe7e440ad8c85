import { distance } from 'fastest-levenshtein';

/** Letters to change, at most, as a share of a name that may have been meant. */
const MOST_CHANGED = 0.4;

/** Letters of a name that are compared, at most. */
const MOST_COMPARED = 100;

/**
 * A known name that another one resembles, as a question: ` (steps?)`; empty if there is none.
 * @param prefix of all names, which says nothing of their likeness
 */
export function suggestion(name: string, known: readonly string[], prefix = ''): string {
  const letters = (text: string) => text.slice(prefix.length).slice(0, MOST_COMPARED).toLowerCase();
  const changes = (other: string) => distance(letters(name), letters(other));
  const [nearest] = known.toSorted((a, b) => changes(a) - changes(b));
  return nearest && changes(nearest) <= MOST_CHANGED * letters(nearest).length ? ` (${nearest}?)` : '';
}
