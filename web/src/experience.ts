import { signal } from '@preact/signals';
import type { Parameters } from './parameters.js';
import { keep, kept } from './storage.js';

/** How a sampler came off the last time. */
interface Experience {
  readonly steps: number;
  /** In words: in comparison with the serial sampler, or why auto chose it. */
  readonly outcome: string;
}

const STORAGE_KEY = 'srds.experience';

/** The last experience by model and sampler. */
const experiences = signal(
  kept(() => localStorage, STORAGE_KEY, {}) as Readonly<Record<string, Experience | undefined>>,
);

/** Remembers how a run came off. */
export function learn(given: Parameters, outcome: string): void {
  experiences.value = { ...experiences.value, [keyOf(given)]: { steps: Number(given.steps), outcome } };
  keep(() => localStorage, STORAGE_KEY, experiences.value);
}

/** What to expect of the sampler of the form, in words. */
export function expectationOf(given: Parameters): string | undefined {
  const known = experiences.value[keyOf(given)];
  if (known) return `Last time, with ${known.steps} steps: ${known.outcome}`;
  switch (given.sampler) {
    case 'serial':
      return undefined;
    case 'auto':
      return 'Auto takes the fastest sampler, as soon as images drawn here have shown which one that is.';
    default:
      return 'Whether it is faster than the serial sampler depends on the machine. Auto finds out.';
  }
}

function keyOf({ model, sampler }: Parameters): string {
  return JSON.stringify([model, sampler]);
}
