import { plan, type Candidate, type Plan } from '../plan/plan.js';
import type { Machine } from '../plan/simulate.js';
import { addsNoise } from '../solver/catalog.js';
import { isMultistep } from '../solver/solver.js';
import type { Settings } from './options.js';

/** What the planner chose. */
export interface Choice {
  readonly reason: string;
  /** Not there where nothing had to be compared. */
  readonly chosen?: Candidate;
}

/** Settings with a sampler in the place of `auto`. */
export interface Chosen {
  readonly settings: Settings;
  /** Not there if the sampler was given. */
  readonly choice?: Choice;
  /** Rows of the largest batch that pays, if it was measured. */
  readonly maxRows?: number | undefined;
}

/**
 * Chooses the sampler for `auto`.
 * @param busy whether the devices have no room for more evaluations than a serial sampler makes
 * @param machine measures the devices, if need be
 */
export async function choose(settings: Settings, busy: boolean, machine: () => Promise<Machine>): Promise<Chosen> {
  const serial = (reason: string): Chosen => ({ settings: { ...settings, sampler: 'serial' }, choice: { reason } });
  const { method, tolerance, grid } = settings;
  if (isMultistep(method)) return serial(`${method.name} is for the serial sampler only`);
  if (tolerance === 0)
    return serial(
      'with tolerance 0 the result is the serial sample, which the serial sampler finds with the least work',
    );
  if (grid.length === 1) return serial('there is one step only');
  if (busy) return serial('the devices have no room for more than a serial sampler needs');
  const measured = await machine();
  return { ...chosenBy(planFor(settings, measured), settings), maxRows: measured.maxRows };
}

/** The planner's forecasts for settings. */
function planFor(settings: Settings, machine: Machine): Plan {
  const { method, grid, partition, partitionGiven, srdsGiven, window, solver, eta, tolerance, maxIterations } =
    settings;
  const evaluationsPerStep = isMultistep(method) ? 1 : method.evaluationsPerStep;
  const fixed = partitionGiven ? partition : undefined;
  // picard was compared with SRDS on trajectories without noise.
  const only = srdsGiven || addsNoise(solver, eta) ? [] : window === undefined ? undefined : [window];
  const stopping = { tolerance, maxIterations };
  return plan({ steps: grid.length, evaluationsPerStep, partition: fixed, windows: only, ...stopping }, machine);
}

function chosenBy({ chosen, reason }: Plan, settings: Settings): Chosen {
  const choice = { reason, chosen };
  switch (chosen.sampler) {
    case 'serial':
      return { settings: { ...settings, sampler: 'serial' }, choice };
    case 'srds':
      return { settings: { ...settings, sampler: 'srds', partition: chosen.partition }, choice };
    case 'picard':
      return { settings: { ...settings, sampler: 'picard', window: chosen.window }, choice };
  }
}
