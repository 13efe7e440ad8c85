import type { Prediction } from '../denoiser/prediction.js';
import type { SolverStep } from '../schedule/grid.js';
import { fixedPoint, holding, stepWith, type FixedPointOptions } from './fixedPoint.js';
import type { SampleResult, SamplerEvent } from './events.js';
import type { Run } from './run.js';

/**
 * Picard iteration in data-prediction form: with u = x / sqrt(1 - abar), the ODE is du = x0(x) d(1/sigma), and a pass is
 *
 *     u'[i+1] = u'[i] + (1/sigma[i+1] - 1/sigma[i]) x0(x[i], t[i])
 *
 * that is, the solver's steps one after the other with the predicted samples of the pass before. An error at step i reaches
 * the end damped by sigma[end] / sigma[i], so it shrinks from the first pass on. It begins with one evaluation, whose
 * predicted sample all steps use. Source: this project's; Picard's iteration for sampling is Shih et al.'s (arXiv 2305.16317).
 * @throws SrdsError INVALID_OPTION as `fixedPoint` does
 */
export function picard(options: FixedPointOptions): Run<SamplerEvent, SampleResult> {
  return fixedPoint(options, {
    guess: async (first, x, steps, solver) => {
      const states = [x, await stepWith(solver, x, first, steps[0])];
      for (let i = 1; i < steps.length; i++) states.push(await holding(solver, states[i], first.x0, steps[i]));
      return states;
    },
    update: async ({ states, predictions, steps, solver }) => {
      const moved = [states[0]];
      for (const [i, step] of steps.entries()) {
        moved.push(await stepWith(solver, moved[i], shifted(predictions[i], moved[i], states[i], step), step));
      }
      return moved;
    },
  });
}

/** What is predicted at `x` if the sample is as predicted at `there`: the noise takes up the difference. */
function shifted({ x0, epsilon }: Prediction, x: Float32Array, there: Float32Array, { from }: SolverStep): Prediction {
  const noise = Math.sqrt(1 - from.alphaBar);
  const moved = new Float32Array(x.length);
  for (let k = 0; k < moved.length; k++) moved[k] = epsilon[k] + (x[k] - there[k]) / noise;
  return { x0, epsilon: moved };
}
