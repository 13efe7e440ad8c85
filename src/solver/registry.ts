import { SrdsError } from '../errors.js';
import type { ScheduleConfig, Scheduler } from '../schedule/config.js';
import { noiseSchedule } from '../schedule/grid.js';
import { ddim, ddimEta } from './ddim.js';
import { ddpm } from './ddpm.js';
import { dpm1 } from './dpm1.js';
import { dpm2m } from './dpm2m.js';
import { dpm2s } from './dpm2s.js';
import { euler } from './euler.js';
import { heun } from './heun.js';
import { pndm } from './pndm.js';
import type { AnySolver } from './solver.js';

/** Parameters of a solver. */
export interface SolverOptions {
  readonly schedule: ScheduleConfig;
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
  readonly make: (options: SolverOptions) => AnySolver;
}

/** All solvers by name. */
const REGISTRY = {
  ddim: {
    scheduler: 'ddim',
    noisy: (eta) => eta > 0,
    make: ({ eta = 0 }) => (eta > 0 ? ddimEta(eta) : ddim),
  },
  ddpm: { scheduler: 'ddpm', noisy: () => true, make: () => ddpm },
  euler: { scheduler: 'euler', make: () => euler },
  heun: { scheduler: 'heun', make: () => heun },
  dpm1: { scheduler: 'dpm', make: () => dpm1 },
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

/** A solver by its name, for a schedule as its scheduler class reads it. */
export function solverOf(name: SolverName, options: SolverOptions): AnySolver {
  return REGISTRY[name].make(options);
}
