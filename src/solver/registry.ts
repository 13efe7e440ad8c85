import { SrdsError } from '../errors.js';
import type { ScheduleConfig, Scheduler } from '../schedule/config.js';
import { noiseSchedule } from '../schedule/grid.js';
import type { Schedule } from '../schedule/schedule.js';
import { ddim, ddimEta } from './ddim.js';
import { ddpm } from './ddpm.js';
import { dpm1 } from './dpm1.js';
import { dpm2m } from './dpm2m.js';
import { dpm2s } from './dpm2s.js';
import { euler } from './euler.js';
import { heun } from './heun.js';
import { pndm } from './pndm.js';
import type { AnySolver, Solver } from './solver.js';

/** Parameters of a solver. */
export interface SolverOptions<Given extends Schedule = Schedule> {
  readonly schedule: Given;
  /** Steps of the fine grid. */
  readonly steps: number;
  /** Share of DDPM's noise that DDIM adds; default 0. */
  readonly eta?: number;
}

interface Entry {
  /** The diffusers scheduler class whose grid and defaults go with it. */
  readonly scheduler: Scheduler;
  /** Whether its steps add noise, given `eta`. */
  readonly noisy?: (eta: number) => boolean;
  readonly make: (options: SolverOptions<ScheduleConfig>) => AnySolver;
  /** The solver on the grid of a flow, which starts without signal; undefined if it divides by the signal or needs training levels. */
  readonly makeForFlow?: (options: Pick<SolverOptions, 'eta'>) => Solver;
}

const makeDdim = ({ eta = 0 }: Pick<SolverOptions, 'eta'>) => (eta > 0 ? ddimEta(eta) : ddim);

/** All solvers by name. */
const REGISTRY = {
  ddim: {
    scheduler: 'ddim',
    noisy: (eta) => eta > 0,
    make: makeDdim,
    makeForFlow: makeDdim,
  },
  ddpm: { scheduler: 'ddpm', noisy: () => true, make: () => ddpm, makeForFlow: () => ddpm },
  euler: { scheduler: 'euler', make: () => euler, makeForFlow: () => euler },
  heun: { scheduler: 'heun', make: () => heun },
  dpm1: { scheduler: 'dpm', make: () => dpm1, makeForFlow: () => dpm1 },
  dpm2s: { scheduler: 'dpm', make: ({ schedule }) => dpm2s(noiseSchedule(schedule)) },
  dpm2m: {
    scheduler: 'dpm',
    make: ({ schedule, steps }) => {
      if (schedule.solverOrder !== 2) {
        throw new SrdsError(
          'MODEL_INVALID',
          'solver_order 2 in the scheduler configuration for dpm2m',
          String(schedule.solverOrder),
          'use dpm1 for order 1; order 3 is not here',
        );
      }
      return dpm2m({
        firstOrderAtEnd: schedule.eulerAtFinal || (schedule.lowerOrderFinal && steps < 15),
        solverType: schedule.solverType,
      });
    },
  },
  pndm: { scheduler: 'pndm', make: ({ schedule }) => pndm(noiseSchedule(schedule), schedule.predictionType) },
} satisfies Record<string, Entry>;

/** Name of a solver. */
export type SolverName = keyof typeof REGISTRY;

/** Names of all solvers. */
export const SOLVERS = Object.keys(REGISTRY) as SolverName[];

/** The diffusers scheduler class whose grid and defaults go with a solver. */
export function schedulerOf(name: SolverName): Scheduler {
  return REGISTRY[name].scheduler;
}

/** Whether a solver's steps need noise. @param eta of DDIM */
export function addsNoise(name: SolverName, eta: number): boolean {
  const entry: Entry = REGISTRY[name];
  return entry.noisy?.(eta) ?? false;
}

/** Names of the solvers for flow matching models. */
export const FLOW_SOLVERS = SOLVERS.filter((name) => 'makeForFlow' in REGISTRY[name]);

/**
 * A solver by its name, for a schedule as its scheduler class reads it.
 * @throws SrdsError INVALID_OPTION if it cannot step over a flow
 */
export function solverOf(name: SolverName, { schedule, ...others }: SolverOptions): AnySolver {
  const entry: Entry = REGISTRY[name];
  if (schedule.scheduler !== 'flow') return entry.make({ schedule, ...others });
  if (entry.makeForFlow) return entry.makeForFlow(others);
  throw new SrdsError(
    'INVALID_OPTION',
    `one of the solvers ${FLOW_SOLVERS.join(', ')} for a flow matching model`,
    name,
    'use euler, the method of its scheduler',
  );
}
