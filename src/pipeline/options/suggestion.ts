import { distance } from 'fastest-levenshtein';

/** Letters to change, at most, as a share of a name that may have been meant. */
const MOST_CHANGED = 0.4;

/** A known name that another one resembles, as a question: ` (steps?)`; empty if there is none. */
export function suggestion(name: string, known: readonly string[]): string {
  if (known.length === 0) return '';
  const lower = name.toLowerCase();
  const nearest = known.reduce((a, b) => (distance(lower, b.toLowerCase()) < distance(lower, a.toLowerCase()) ? b : a));
  return distance(lower, nearest.toLowerCase()) <= MOST_CHANGED * nearest.length ? ` (${nearest}?)` : '';
}
