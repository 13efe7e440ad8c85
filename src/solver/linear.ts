import type { SolverStep } from '../schedule/grid.js';
import { combined, type Combination } from './prediction.js';
import type { Solver } from './solver.js';

/** A solver of first order whose step is a x0 + b epsilon. @param combination the weights of a step */
export function linearSolver(name: string, combination: (step: SolverStep) => Combination): Solver {
  return {
    name,
    order: 1,
    evaluationsPerStep: 1,
    combination,
    step: (_x, prediction, step) => combined(prediction, combination(step)),
  };
}
