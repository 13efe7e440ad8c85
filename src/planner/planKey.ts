import { defaultPartition } from '../sampler/partition.js';
import { expectedIterations, expectedPasses } from './convergence.js';
import type { LatencyCurve } from './curve.js';
import type { Machine } from './forecast.js';
import type { PlanRequest } from './plan.js';

/** Ratio of two measured times, or numbers of iterations, for which the same candidate is likely to be the best. */
export const ALIKE = 1.25;
/** The same for which forecasts differ by less than they are accurate to. */
export const SAME = 1.02;

/**
 * A text that is the same for machines on which a plan for a trajectory can be kept. Every run adds to what is known of the times and
 * iterations, and a new plan takes as long as some batches.
 * @param ratio `ALIKE` or `SAME`
 */
export function planKey(
  machine: Machine,
  { steps, partition, tolerance }: Pick<PlanRequest, 'steps' | 'partition' | 'tolerance'>,
  ratio: number,
): string {
  const level = (value: number | undefined) => (value ? Math.round(Math.log(value) / Math.log(ratio)) : undefined);
  const curveLevels = ({ points, padded, hostSeconds, hostSecondsEach, aloneSeconds }: LatencyCurve) => [
    padded,
    level(hostSeconds),
    level(hostSecondsEach),
    level(aloneSeconds),
    points.map(({ rows, seconds }) => [rows, level(seconds)]),
  ];
  const { devices, convergence, decodeSeconds, ...others } = machine;
  const blocks = partition ?? defaultPartition(steps);
  const iterations = [
    expectedIterations(blocks, tolerance, convergence),
    expectedPasses(steps, steps, tolerance, convergence),
  ];
  return JSON.stringify([ratio, others, level(decodeSeconds), devices.map(curveLevels), iterations.map(level)]);
}
