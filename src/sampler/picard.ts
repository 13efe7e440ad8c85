import type { SolverStep } from '../schedule/grid.js';
import type { Solver } from '../solver/solver.js';
import { carryOver, fixedPoint, holding, stepWith, type FixedPointOptions } from './fixedPoint.js';
import type { SampleResult, SamplerEvent } from '../run/events.js';
import type { Run } from '../run/run.js';

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
    update: (window) => carryOver(window, damping),
  });
}

/** How much of a difference at a step's start is left at its end, the predicted sample being the same: for DDIM sigma' / sigma. */
async function damping({ from, to, noise }: SolverStep, solver: Solver): Promise<number> {
  const step = { from, to, noise: noise && Float32Array.of(0) };
  const [factor] = await holding(solver, Float32Array.of(1), Float32Array.of(0), step);
  return factor;
}
