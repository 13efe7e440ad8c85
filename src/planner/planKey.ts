import { defaultPartition } from '../sampler/partition.js';
import { expectedIterations, expectedPasses } from './convergence.js';
import type { LatencyCurve } from './curve.js';
import type { Machine } from './forecast.js';
import type { PlanRequest } from './plan.js';

/** Ratio of two measured times, or numbers of iterations, that one plan serves. */
const ALIKE = 1.25;

/**
 * A text that is the same for machines on which a plan for a trajectory can be kept. Every run adds to what is known of the times and
 * iterations, and a new plan takes as long as some batches.
 */
export function planKey(
  machine: Machine,
  { steps, partition, tolerance }: Pick<PlanRequest, 'steps' | 'partition' | 'tolerance'>,
): string {
  const { devices, convergence, ...others } = machine;
  const blocks = partition ?? defaultPartition(steps);
  const iterations = [
    expectedIterations(blocks, tolerance, convergence),
    expectedPasses(steps, steps, tolerance, convergence),
  ];
  return JSON.stringify([others, devices.map(curveLevels), iterations.map(level)]);
}

function curveLevels({ points, padded, hostSeconds, aloneSeconds }: LatencyCurve): unknown {
  return [padded, level(hostSeconds), level(aloneSeconds), points.map(({ rows, seconds }) => [rows, level(seconds)])];
}

function level(value: number | undefined): number | undefined {
  return value ? Math.round(Math.log(value) / Math.log(ALIKE)) : undefined;
}
