import { fixedPoint, stepWith, type FixedPointOptions } from './fixedPoint.js';
import type { SampleResult, SamplerEvent } from './events.js';
import type { Run } from './run.js';

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
  return fixedPoint(options, {
    update: async ({ states, predictions, steps, solver }) => {
      const moved = [states[0]];
      for (const [i, step] of steps.entries()) {
        const end = await stepWith(solver, states[i], predictions[i], step);
        moved.push(end.map((value, k) => value + (moved[i][k] - states[i][k])));
      }
      return moved;
    },
  });
}
