import { settingsOf } from '../pipeline/options.js';
import { SOLVERS, type SolverName } from '../solver/registry.js';
import type { Models, ServedModel } from './models.js';

/** The solvers that at least one of the served models supports. */
export function supportedSolvers(models: Models): SolverName[] {
  return SOLVERS.filter((solver) => models.served.some((model) => supports(model, solver)));
}

/** Whether a model supports a solver. */
export function supports({ folder }: ServedModel, solver: SolverName): boolean {
  try {
    settingsOf({ prompt: '', solver, sampler: 'serial' }, folder);
    return true;
  } catch {
    return false;
  }
}
