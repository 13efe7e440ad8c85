import { alphasCumprod } from './betas.js';
import type { ScheduleConfig } from './config.js';
import { roundHalfEven, spacedTimesteps } from './timesteps.js';

/** A grid over sigma = sqrt((1 - abar) / abar), as in diffusers' Euler, Heun and DPM-Solver schedulers. */
export interface SigmaGrid {
  /** [steps], from noise to image. */
  readonly timesteps: readonly number[];
  /** [steps + 1]; the last entry is the end of the last step. */
  readonly sigmas: Float32Array;
}

/** sigma = sqrt((1 - abar) / abar). */
export function sigmaOf(alphaBar: number): number {
  return Math.sqrt((1 - alphaBar) / alphaBar);
}

/** rho of Karras et al. 2022, formula (5). */
const RHO = 7;

/**
 * The sigmas of a sample and the matching timesteps of the network. Source: set_timesteps of diffusers'
 * EulerDiscreteScheduler, HeunDiscreteScheduler and DPMSolverMultistepScheduler.
 * @throws SrdsError INVALID_OPTION if the schedule cannot be sampled in this number of steps
 */
export function sigmaGrid(config: ScheduleConfig, steps: number): SigmaGrid {
  const trained = trainedSigmas(config);
  const spaced = spacedTimesteps(config, steps);
  const last = config.finalSigma === 'zero' ? 0 : trained[0];
  if (!config.karras) {
    const plain = spaced.filter((t) => t >= 0);
    return { timesteps: plain, sigmas: Float32Array.from([...plain.map((t) => interpolate(trained, t)), last]) };
  }
  // DPM-Solver spreads Karras' sigmas over the whole training, the others over the range of the plain grid.
  const range =
    config.scheduler === 'dpm'
      ? [trained[trained.length - 1], trained[0]]
      : [interpolate(trained, spaced[0]), interpolate(trained, spaced[spaced.length - 1])];
  const [max, min] = [config.sigmaMax ?? range[0], config.sigmaMin ?? range[1]];
  const sigmas = karras(max, min, steps);
  const logs = trained.map(Math.log);
  const rounded = sigmas.map((sigma) => timestepOf(logs, sigma)).map(timestepRounding(config));
  return { timesteps: rounded, sigmas: Float32Array.from([...sigmas, last]) };
}

/**
 * sigma[t] of the training, computed in float32 as in diffusers.
 * @returns [trainTimesteps]
 */
export function trainedSigmas(config: ScheduleConfig): Float32Array {
  return alphasCumprod(config).map((alphaBar) => Math.sqrt(Math.fround(Math.fround(1 - alphaBar) / alphaBar)));
}

/**
 * The fractional timestep with a given sigma, by interpolation in log sigma. Source: _sigma_to_t of diffusers' schedulers.
 * @param logs log sigma[t] of the training
 */
export function timestepOf(logs: Float32Array, sigma: number): number {
  const log = Math.log(Math.max(sigma, 1e-10));
  // With zero terminal SNR the last entry can be below those before it, so the last one that is low enough counts.
  const below = logs.findLastIndex((value) => value <= log);
  const low = Math.min(Math.max(0, below), logs.length - 2);
  const w = (logs[low] - log) / Math.fround(logs[low] - logs[low + 1]);
  return low + Math.min(1, Math.max(0, w));
}

function karras(max: number, min: number, count: number): number[] {
  const [first, last] = [max ** (1 / RHO), min ** (1 / RHO)];
  return Array.from({ length: count }, (_, i) => (first + (count > 1 ? i / (count - 1) : 0) * (last - first)) ** RHO);
}

/** numpy.interp over the training timesteps: before and after them it has their ends. */
function interpolate(values: Float32Array, t: number): number {
  const low = Math.min(Math.floor(t), values.length - 1);
  if (low < 0) return values[0];
  if (low === values.length - 1) return values[low];
  return (values[low + 1] - values[low]) * (t - low) + values[low];
}

/** Euler and Heun use float32 timesteps. DPM-Solver rounds them to integers, or truncates them with cosine betas. */
function timestepRounding({ scheduler, betaSchedule }: ScheduleConfig): (t: number) => number {
  if (scheduler !== 'dpm') return Math.fround;
  return betaSchedule === 'squaredcos_cap_v2' ? Math.trunc : roundHalfEven;
}
