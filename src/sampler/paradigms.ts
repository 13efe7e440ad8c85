import { fixedPoint, propagateChanges, type FixedPointOptions } from './fixedPoint.js';
import type { Sampler } from './sampler.js';

/**
 * ParaDiGMS: Picard iteration over a sliding window. With S_i the solver's step, a pass adds up the increments of the pass
 * before:
 *
 *     x'[i+1] = x'[i] + ( S_i(x[i]) - x[i] )
 *
 * It is written S_i(x[i]) + (x'[i] - x[i]), so that an unchanged state leads to exactly the solver's step. Its tolerance is the
 * window's (`windowTolerance`): it moves the window, and ends the run once the window is at the end.
 * Source: Shih et al. 2023 (arXiv 2305.16317), algorithm 1; diffusers StableDiffusionParadigmsPipeline.
 * @throws SrdsError INVALID_OPTION as `fixedPoint` does
 * @example
 * const { result } = drive(paradigms({ x, steps, solver: ddim, windowTolerance: 0.05 }), { denoiser });
 */
export function paradigms(options: FixedPointOptions): Sampler {
  return fixedPoint(options, { update: (window) => propagateChanges(window, () => 1) });
}
