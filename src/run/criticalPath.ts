import type { Partition } from '../sampler/partition.js';

/**
 * Sequential evaluations that `iterations` iterations of SRDS take where every batch costs one.
 *
 * Pipelined: the depth of x[p][i+1] is max(depth x[p-1][i] + length of block i, depth x[p][i] + 1). With B blocks of S
 * steps that is kS + B - k, and for no partition more than N. With barriers every iteration waits for the one before:
 * the fine solves, whose first evaluation the last sweep has made already, and then the coarse sweep over the blocks
 * that are not exact yet. That can exceed N: the paper's vanilla form pays for what pipelining hides.
 * @param iterations refinements after the coarse sweep, at most the number of blocks
 */
export function criticalPath(partition: Partition, iterations: number, pipelined = true): number {
  const blocks = partition.length;
  let depth = Array.from({ length: blocks + 1 }, (_, i) => i);
  let front = acrossSingleSteps(partition, 0);
  for (let p = 1; p <= iterations && front < blocks; p++) {
    const before = depth;
    const afterFine = (i: number) => (pipelined ? before[i] + partition[i] : before[blocks] + partition[i] - 1);
    depth = before.slice(0, front + 1);
    for (let i = front; i < blocks; i++) {
      depth.push(i === front ? afterFine(i) : Math.max(afterFine(i), depth[i] + 1));
    }
    front = acrossSingleSteps(partition, front + 1);
  }
  return depth[blocks];
}

/** Iterations after which the sample is exact whatever the model: one for each block of more than one step. */
export function iterationsToExact(partition: Partition): number {
  return Math.max(1, partition.filter((length) => length > 1).length);
}

/** The boundary that is exact if boundary `from` is: the coarse solver crosses blocks of one step exactly. */
function acrossSingleSteps(partition: Partition, from: number): number {
  let front = from;
  while (partition[front] === 1) front++;
  return front;
}
