import { SAMPLER_NAMES } from '../../pipeline/options/generation.js';
import { sigmaScheduler, type ScheduleType } from '../../schedule/config.js';
import { schedulerOf, SOLVERS, type SolverName } from '../../solver/registry.js';
import { ignored, type Concession } from '../concession.js';
import type { ServedModel } from '../models.js';
import { supports } from '../supportedSolvers.js';

/**
 * The solver nearest to each other sampler of web UIs, by its plain name. An ancestral Euler step has the mean and the noise of a step of
 * DDPM; the stochastic forms of DPM-Solver map to the deterministic one of their order.
 * Source: AUTOMATIC1111 stable-diffusion-webui, modules/sd_samplers_*.py; Forge's additions; k-diffusion, sampling.py.
 */
const NEAREST: Readonly<Partial<Record<string, SolverName>>> = {
  eulera: 'ddpm',
  eulerancestral: 'ddpm',
  eulercfgpp: 'euler',
  lcm: 'ddpm',
  restart: 'heun',
  heunpp2: 'heun',
  dpm2: 'dpm2s',
  dpm2a: 'dpm2s',
  dpm2ancestral: 'dpm2s',
  dpmfast: 'dpm2s',
  dpmadaptive: 'dpm2s',
  dpmppsde: 'dpm2s',
  dpmpp2sa: 'dpm2s',
  dpmpp2sancestral: 'dpm2s',
  dpmpp2msde: 'dpm2m',
  dpmpp2msdeheun: 'dpm2m',
  dpmpp3msde: 'dpm2m',
  unipc: 'dpm2m',
  deis: 'dpm2m',
  lms: 'pndm',
  ipndm: 'pndm',
  ipndmv: 'pndm',
  ddimcfgpp: 'ddim',
};

/** Schedule types of web UIs. Those that are not here have no value. */
const SCHEDULE_TYPES: Readonly<Partial<Record<string, ScheduleType | 'own'>>> = {
  '': 'own',
  automatic: 'own',
  uniform: 'uniform',
  normal: 'uniform',
  karras: 'karras',
};
/** Older web UIs append the schedule type to the sampler's name. */
const SUFFIX = / (karras|exponential|polyexponential|sgm uniform|simple|beta|turbo|uniform|align your steps)$/i;

/** The entry of a name that a client sent: every object has a `constructor`, which is none. */
function entryOf<Value>(table: Readonly<Partial<Record<string, Value>>>, name: string): Value | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

/** The fields of a request that describe its sampler. */
export interface GivenSampler {
  readonly sampler_name?: string | undefined;
  /** Its older name. */
  readonly sampler_index?: string | undefined;
  readonly scheduler?: string | undefined;
  readonly eta?: number | undefined;
}

/** Options of the library for it, and what it does not get. */
export interface NamedSampler {
  readonly options: {
    readonly solver?: SolverName | undefined;
    readonly scheduleType?: ScheduleType | undefined;
    readonly eta?: number | undefined;
  };
  readonly concessions: readonly Concession[];
}

/**
 * The solver and the schedule type for the names that a client of web UIs gives.
 * @param usual the server's own defaults
 */
export function namedSampler(
  given: GivenSampler,
  model: ServedModel,
  usual: { readonly solver?: SolverName | undefined; readonly eta?: number | undefined },
): NamedSampler {
  const full = given.sampler_name ?? given.sampler_index ?? '';
  const name = full.replace(SUFFIX, '').trim();
  const named = solverFor(name, model);
  const solver = named ?? usual.solver;
  const used = solver ?? model.folder.scheduler.solver;
  const hasTypes = used !== undefined && !model.folder.scheduler.isFlow && sigmaScheduler(schedulerOf(used));
  const type = given.scheduler ?? SUFFIX.exec(full)?.[1] ?? '';
  const scheduleType = entryOf(SCHEDULE_TYPES, plain(type));
  const isHere = named !== undefined && isNameOf(named, name);
  // A client that names no sampler sends the eta of another one.
  const takesEta = isHere && named === 'ddim';
  // The noise of DDPM is that of eta 1.
  const isEtaMet = takesEta || !given.eta || (named === 'ddpm' && given.eta === 1);
  const standIn = used === undefined ? "the model's own" : SAMPLER_NAMES[used];
  return {
    options: {
      solver,
      ...(hasTypes && scheduleType !== 'own' && { scheduleType }),
      eta: takesEta ? (given.eta ?? usual.eta) : named ? undefined : usual.eta,
    },
    concessions: [
      ...(isHere || isAutomatic(name)
        ? []
        : [{ param: 'sampler_name', warning: `sampler ${JSON.stringify(name)} is not here: ${standIn} in its place` }]),
      ...(scheduleType === undefined || (scheduleType === 'karras' && !hasTypes) ? [ignored('scheduler', type)] : []),
      ...(isEtaMet ? [] : [ignored('eta', `${given.eta} (for DDIM)`)]),
    ],
  };
}

/** The solver of a name, or the nearest that the model supports. */
function solverFor(name: string, model: ServedModel): SolverName | undefined {
  const solver = SOLVERS.find((one) => isNameOf(one, name)) ?? entryOf(NEAREST, plain(name));
  return solver && supports(model, solver) ? solver : undefined;
}

function isNameOf(solver: SolverName, name: string): boolean {
  return [solver, plain(SAMPLER_NAMES[solver])].includes(plain(name));
}

function isAutomatic(name: string): boolean {
  return ['', 'automatic'].includes(plain(name));
}

/** A name without case and separators: web UIs write `DPM++ 2M SDE`, others `dpmpp_2m_sde` or `k_dpmpp_2m_sde`. */
function plain(name: string): string {
  return name
    .toLowerCase()
    .replace(/^k_/, '')
    .replaceAll('+', 'p')
    .replace(/[^a-z0-9]/g, '');
}
