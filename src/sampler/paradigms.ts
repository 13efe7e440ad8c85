import { carryOver, fixedPoint, type FixedPointOptions } from './fixedPoint.js';
import type { SampleResult, SamplerEvent } from '../run/events.js';
import type { Run } from '../run/run.js';

/** Options of ParaDiGMS: its own tolerance is what moves the window, and ends the run when that is at the end. */
export type ParadigmsOptions = Omit<FixedPointOptions, 'tolerance'>;

/**
 * ParaDiGMS: Picard iteration over a sliding window. With S_i the solver's step, a pass adds up the increments of the pass
 * before:
 *
 *     x'[i+1] = x'[i] + ( S_i(x[i]) - x[i] )
 *
 * written S_i(x[i]) + (x'[i] - x[i]), so that a state that stays leads to exactly the solver's step.
 * Source: Shih et al. 2023 (arXiv 2305.16317), algorithm 1; diffusers StableDiffusionParadigmsPipeline.
 * @throws SrdsError INVALID_OPTION as `fixedPoint` does
 */
export function paradigms(options: ParadigmsOptions): Run<SamplerEvent, SampleResult> {
  return fixedPoint(options, { update: (window) => carryOver(window, () => Promise.resolve(1)) });
}
