import type { SolverStep } from '../schedule/grid.js';
import { span } from '../schedule/span.js';
import { boundaries, type Partition } from './partition.js';

/** A block of the fine grid. */
export interface Block {
  /** The steps of the fine solver F. */
  readonly fine: readonly SolverStep[];
  /** The one step of the coarse solver G. */
  readonly coarse: SolverStep;
  /** Whether the block has one fine step, so that F = G. */
  readonly isOneStep: boolean;
  /** Iteration from which on the state at its start is the serial sampler's, whatever the model. */
  readonly exactFrom: number;
}

/** The fine grid cut into blocks. */
export function blocksOf(steps: readonly SolverStep[], partition: Partition): readonly Block[] {
  const edges = boundaries(partition);
  return partition.map((length, i) => {
    const fine = steps.slice(edges[i], edges[i + 1]);
    const exactFrom = partition.slice(0, i).filter((before) => before > 1).length;
    return { fine, coarse: span(fine), isOneStep: length === 1, exactFrom };
  });
}
