import type { SolverStep } from '../schedule/grid.js';
import type { Solver } from '../solver/solver.js';
import { fixedPoint, propagateChanges, stepWith, stepWithX0, type FixedPointOptions } from './fixedPoint.js';
import type { Sampler } from './sampler.js';

/**
 * Picard iteration in data-prediction form: with u = x / sqrt(1 - abar), the ODE is du = x0(x) d(1/sigma), and a pass is
 *
 *     u'[i+1] = u'[i] + (1/sigma[i+1] - 1/sigma[i]) x0(x[i], t[i])
 *
 * that is, the solver's steps one after the other with the predicted samples of the pass before. An error at step i reaches the
 * end damped by sigma[end] / sigma[i], so it shrinks from the first pass on. The first evaluation's predicted sample starts all
 * states. Source: this project's; Picard iteration for sampling is Shih et al.'s (arXiv 2305.16317).
 * @throws SrdsError INVALID_OPTION as `fixedPoint` does
 * @example
 * const { result } = drive(picard({ x, steps, solver: ddim, window: 16 }), { denoiser, tolerance: 1e-3 });
 */
export function picard(options: FixedPointOptions): Sampler {
  return fixedPoint(options, {
    guess: (first, x, steps, solver) => {
      const states = [x, stepWith(solver, x, first, steps[0])];
      for (let i = 1; i < steps.length; i++) states.push(stepWithX0(solver, states[i], first.x0, steps[i]));
      return states;
    },
    update: (window) => propagateChanges(window, damping),
  });
}

/** Share of a difference at a step's start that is left at its end, for the same predicted sample: for DDIM sigma' / sigma. */
function damping({ from, to, noise }: SolverStep, solver: Solver): number {
  const unmasked = solver.mask?.solver ?? solver;
  const step = { from, to, noise: noise && Float32Array.of(0) };
  const [factor] = stepWithX0(unmasked, Float32Array.of(1), Float32Array.of(0), step);
  return factor;
}
