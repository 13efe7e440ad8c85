import type { Iterate } from '../sampler/sampler.js';
import { rmsDifference } from '../tensor/operations.js';

/**
 * How far a run is from convergence after an iteration, in the unit of its tolerance.
 * @param before the iterate before
 */
export type Residual = (now: Iterate, before: Iterate) => number | Promise<number>;

/**
 * What a sampler predicts of further changes, as a root mean square: of srds the change that the next iterations make to the sample, of
 * fixed-point samplers the largest change of a state in the last pass. `lastChange` where it predicts none.
 */
export function nextChange(now: Iterate, before: Iterate): number {
  return now.predictedChange ?? lastChange(now, before);
}

/** Root mean square of the change of the sample in the last iteration. */
export function lastChange(now: Iterate, before: Iterate): number {
  return rmsDifference(now.x, before.x);
}
