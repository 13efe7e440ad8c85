import { SrdsError, wholeNumber } from '../errors.js';

/** The fine grid cut into blocks: the number of fine steps of each, from noise to image. */
export type Partition = readonly number[];

/**
 * The block count that SRDS takes unless told otherwise: 1.5 sqrt(N) + 1.5, that is, 1.8 sqrt(N) for 25 steps and 1.6 sqrt(N)
 * for 100. Where evaluations are pipelined and reused, more blocks than the paper's sqrt(N) make the critical path shorter.
 */
export function defaultBlocks(steps: number): number {
  return Math.min(steps, Math.round(1.5 * Math.sqrt(steps) + 1.5));
}

/**
 * `steps` fine steps in `blocks` blocks whose lengths differ by at most one.
 * @throws SrdsError INVALID_OPTION if there are more blocks than steps, or none
 */
export function evenPartition(steps: number, blocks: number): Partition {
  wholeNumber(`a number of blocks for ${steps} steps`, blocks, 1, steps);
  const boundary = (i: number) => Math.round((i * steps) / blocks);
  return Array.from({ length: blocks }, (_, i) => boundary(i + 1) - boundary(i));
}

/**
 * `partition` as it is, if it cuts `steps` fine steps.
 * @throws SrdsError INVALID_OPTION otherwise
 */
export function checkPartition(partition: Partition, steps: number): Partition {
  const sum = partition.reduce((total, length) => total + length, 0);
  if (partition.length > 0 && partition.every((n) => Number.isInteger(n) && n >= 1) && sum === steps) return partition;
  throw new SrdsError(
    'INVALID_OPTION',
    `block lengths of at least 1 that add up to the ${steps} steps`,
    `${partition.join(',') || 'none'} (sum ${sum})`,
    'change the lengths or the steps',
  );
}

/** The blocks' boundaries on the fine grid, b[0] = 0 to b[B] = N. */
export function boundaries(partition: Partition): number[] {
  const b = [0];
  for (const length of partition) b.push(b[b.length - 1] + length);
  return b;
}
