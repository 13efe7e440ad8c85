import { SrdsError, wholeNumber } from '../errors.js';

/** The fine grid cut into blocks: the number of fine steps of each, from noise to image. */
export type Partition = readonly number[];

/**
 * The default blocks of SRDS: 1.3 sqrt(N) + 4 of them, that is 2.2 sqrt(N) for 25 steps and 1.7 sqrt(N) for 100, with at least 2.2
 * steps on average, shorter blocks first. With pipelined and reused evaluations, more blocks than the paper's sqrt(N) make the
 * critical path shorter.
 */
export function defaultPartition(steps: number): Partition {
  return rampedPartition(steps, Math.min(Math.ceil(steps / 2.2), Math.round(1.3 * Math.sqrt(steps) + 4)));
}

/**
 * `steps` fine steps in `blocks` blocks. The first two fifths of the blocks grow to the length of the others, because the coarse
 * solver errs most at high noise. This saves about half of the iterations of even blocks (docs/benchmarks.md).
 * @throws SrdsError INVALID_OPTION if there are more blocks than steps, or none
 */
export function rampedPartition(steps: number, blocks: number): Partition {
  wholeNumber(`a number of blocks for ${steps} steps`, blocks, 1, steps);
  const lengths = Array.from({ length: blocks }, (_, i) => Math.min(1, FIRST + ((1 - FIRST) * i) / (RISE * blocks)));
  const unit = steps / lengths.reduce((sum, length) => sum + length, 0);
  let exact = 0;
  const ends = lengths.map((length, i) => Math.max(i + 1, Math.round((exact += unit * length))));
  return ends.map((end, i) => end - (ends[i - 1] ?? 0));
}

/** Length of the first block relative to the last, and the share of the blocks that grow. */
const FIRST = 0.3;
const RISE = 0.4;

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

/** Iterations after which the sample is exact whatever the model: one for each block of more than one step, at least one. */
export function iterationsToExact(partition: Partition): number {
  return Math.max(1, partition.filter((length) => length > 1).length);
}
