import type { BatchOptions } from '../engine.js';

/**
 * The protocol's priority of a batch, from 1, the highest, to the number of levels. What is certain to be needed goes first on a server that
 * several clients share. Speculation yields to it: the lower its iteration the more urgent it is, and in an iteration the blocks behind
 * the one that becomes exact next come later.
 * @param levels of the server; 0: requests have no priority
 * @example
 * priorityLevel({ priority: [0, 5], speculative: true }, 8); // 3
 */
export function priorityLevel(
  { priority = [], speculative = false }: BatchOptions,
  levels: number,
): number | undefined {
  if (levels === 0) return undefined;
  if (!speculative) return 1;
  const [iteration = 0, block = 0] = priority;
  const isFar = block > iteration + 1;
  return Math.min(levels, 2 + 2 * Math.max(0, iteration) + (isFar ? 1 : 0));
}
