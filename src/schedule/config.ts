import { numberBetween, SrdsError, wholeNumber } from '../errors.js';

/** diffusers scheduler classes. Each has its own defaults and its own grid. */
export const SCHEDULERS = ['ddim', 'ddpm', 'pndm', 'euler', 'heun', 'dpm'] as const;
/** `dpm` is DPMSolverMultistepScheduler. The other names are those of their classes. */
export type Scheduler = (typeof SCHEDULERS)[number];

export const SPACINGS = ['leading', 'trailing', 'linspace'] as const;
/** How the timesteps of a sample are spread over the training timesteps. Source: Lin et al. 2023, table 2. */
export type TimestepSpacing = (typeof SPACINGS)[number];

/** How noise levels are spaced: evenly over the timesteps, or as in Karras et al. 2022, formula (5). */
export const SCHEDULE_TYPES = ['uniform', 'karras'] as const;
export type ScheduleType = (typeof SCHEDULE_TYPES)[number];

export const PREDICTIONS = ['epsilon', 'v_prediction', 'sample'] as const;
/** What the network predicts. `flow`: the velocity epsilon - x0 of flow matching, at (1 - sigma) x0 + sigma epsilon. */
export type PredictionType = (typeof PREDICTIONS)[number] | 'flow';

/** How the predicted sample is bounded. Latent models need no bound, but some configurations have one. */
export type Bound =
  /** Clips to [-range, range]. */
  | { readonly kind: 'clip'; readonly range: number }
  /** Dynamic thresholding. Source: Saharia et al. 2022, section 2.3. */
  | { readonly kind: 'threshold'; readonly ratio: number; readonly max: number };

/** The noise schedule that a model was trained with, and how a scheduler class steps over it. */
export interface ScheduleConfig {
  /** The class whose grid is used. */
  readonly scheduler: Scheduler;
  /** Number of training timesteps, T. */
  readonly trainTimesteps: number;
  /** Noise variance at timestep 0. */
  readonly betaStart: number;
  /** Noise variance at timestep T - 1. */
  readonly betaEnd: number;
  /** How the variances between them are interpolated. */
  readonly betaSchedule: 'linear' | 'scaled_linear' | 'squaredcos_cap_v2';
  /** The variances themselves, [T]. They replace the three fields above. */
  readonly trainedBetas: readonly number[] | undefined;
  readonly predictionType: PredictionType;
  readonly timestepSpacing: TimestepSpacing;
  /** Added to each timestep under leading spacing. */
  readonly stepsOffset: number;
  /** Whether the last step ends at abar = 1 instead of abar[0]. Used by ddim, ddpm and pndm. */
  readonly setAlphaToOne: boolean;
  /** How the predicted sample is bounded; undefined for no bound. */
  readonly bound: Bound | undefined;
  /** Whether the variances are rescaled so that abar[T - 1] = 0. Source: Lin et al. 2023, algorithm 1. */
  readonly zeroSnr: boolean;
  /** Whether sigmas are spaced as in Karras et al. 2022, formula (5). Used by euler, heun and dpm. */
  readonly karras: boolean;
  /** Smallest Karras sigma; default: the training's. */
  readonly sigmaMin: number | undefined;
  /** Largest Karras sigma; default: the training's. */
  readonly sigmaMax: number | undefined;
  /** Noise at the end of the last step: none, or the training's smallest sigma. Used by euler, heun and dpm. */
  readonly finalSigma: 'zero' | 'sigma_min';
  /** Whether dpm2m takes a first-order last step with fewer than 15 steps. */
  readonly lowerOrderFinal: boolean;
  /** Whether dpm2m always takes a first-order last step. */
  readonly eulerAtFinal: boolean;
  /** Form of dpm2m's second-order step. */
  readonly solverType: 'midpoint' | 'heun';
  /** Order of dpm2m. */
  readonly solverOrder: number;
  /** dpm leaves out the timesteps whose log(sqrt(abar) / sqrt(1 - abar)) is below this. */
  readonly lambdaMin: number;
}

/** diffusers' DDIMScheduler without clipping. */
const DEFAULTS: ScheduleConfig = {
  scheduler: 'ddim',
  trainTimesteps: 1000,
  betaStart: 0.0001,
  betaEnd: 0.02,
  betaSchedule: 'linear',
  trainedBetas: undefined,
  predictionType: 'epsilon',
  timestepSpacing: 'leading',
  stepsOffset: 0,
  setAlphaToOne: true,
  bound: undefined,
  zeroSnr: false,
  karras: false,
  sigmaMin: undefined,
  sigmaMax: undefined,
  finalSigma: 'zero',
  lowerOrderFinal: true,
  eulerAtFinal: false,
  solverType: 'midpoint',
  solverOrder: 2,
  lambdaMin: -Infinity,
};

/**
 * A schedule for a model of your own. Fields that are not given take the defaults of diffusers' DDIMScheduler, without
 * clipping. `parseScheduleConfig` of `srds/model` reads a scheduler_config.json instead.
 * @throws SrdsError INVALID_OPTION if the training timesteps, betas or offset are out of range
 * @example
 * const schedule = scheduleConfig({ betaSchedule: 'scaled_linear', betaStart: 0.00085, betaEnd: 0.012 });
 * const steps = fineGrid(schedule, 25);
 */
export function scheduleConfig(fields: Partial<ScheduleConfig> = {}): ScheduleConfig {
  const config = { ...DEFAULTS, ...fields };
  const { trainTimesteps, betaStart, betaEnd, trainedBetas, stepsOffset } = config;
  wholeNumber('a number of training timesteps', trainTimesteps, 1);
  wholeNumber('an offset of timesteps', stepsOffset, 0, trainTimesteps - 1);
  for (const beta of trainedBetas ?? [betaStart, betaEnd]) numberBetween('a beta', beta, 0, 1);
  if (trainedBetas && trainedBetas.length !== trainTimesteps) {
    throw new SrdsError(
      'INVALID_OPTION',
      `${trainTimesteps} trained betas, one for each training timestep`,
      String(trainedBetas.length),
      'set trainTimesteps to their number',
    );
  }
  return config;
}

/** Whether a class steps over sigmas, from each entry to the next, instead of over timesteps. */
export function sigmaScheduler(scheduler: Scheduler): boolean {
  return scheduler === 'euler' || scheduler === 'heun' || scheduler === 'dpm';
}
