import { SrdsError } from '../errors.js';
import { alphasCumprod } from './betas.js';
import { sigmaScheduler, type ScheduleConfig } from './config.js';
import { sigmaGrid, sigmaOf, timestepOf, trainedSigmas } from './sigmas.js';
import { combineNoise } from './noise.js';
import { timesteps } from './timesteps.js';

/** A point of the noise schedule. */
export interface NoiseLevel {
  /** timestep that the network is told; below 0 at the end of a trajectory */
  readonly t: number;
  /** abar: the share of the signal's variance, 1 without noise */
  readonly alphaBar: number;
}

/** One solver step's interval, from more noise to less. */
export interface SolverStep {
  readonly from: NoiseLevel;
  readonly to: NoiseLevel;
  /** Of variance 1, drawn beforehand, for solvers that add noise: what they do is a function like any other. */
  readonly noise?: Float32Array | undefined;
}

/**
 * The fine grid of a sample: one interval a step, from noise to image, as the configuration's scheduler class walks it.
 *
 * With Euler, Heun and DPM-Solver a step ends where the next begins. A DDIM step carries its own end, t - T/N as in
 * DDIMScheduler.step, which for most N is not the next entry of the timesteps. PNDM has one step more, its second
 * timestep twice, as in PNDMScheduler.set_timesteps.
 * @throws SrdsError INVALID_OPTION if the schedule has no such grid
 */
export function fineGrid(config: ScheduleConfig, steps: number): SolverStep[] {
  if (sigmaScheduler(config.scheduler)) return overSigmas(config, steps);
  const alphaBar = alphasCumprod(config);
  const final = config.setAlphaToOne ? 1 : alphaBar[0];
  const stride = Math.floor(config.trainTimesteps / steps);
  const list = timesteps(config, steps);
  if (config.scheduler === 'pndm') list.splice(1, 0, ...list.slice(1, 2));
  if (alphaBar[list[0]] === 0 && config.predictionType === 'epsilon') {
    throw new SrdsError(
      'INVALID_OPTION',
      'a prediction of the sample or of v where a step starts without any signal (zero terminal SNR)',
      'epsilon, which says nothing of the sample there',
      'choose another --prediction or --spacing, or the solver euler',
    );
  }
  return list.map((t, i) => {
    const end = config.scheduler === 'ddpm' ? (list[i + 1] ?? -1) : t - stride;
    return { from: { t, alphaBar: alphaBar[t] }, to: { t: end, alphaBar: end >= 0 ? alphaBar[end] : final } };
  });
}

function overSigmas(config: ScheduleConfig, steps: number): SolverStep[] {
  const grid = sigmaGrid(config, steps);
  const levels = Array.from(grid.sigmas, (sigma, i): NoiseLevel => ({
    t: grid.timesteps[i] ?? -1,
    alphaBar: 1 / (1 + sigma * sigma),
  }));
  return stepsBetween(levels);
}

/** The steps from each level to the next. */
export function stepsBetween(levels: readonly NoiseLevel[]): SolverStep[] {
  return levels.slice(1).map((to, i) => ({ from: levels[i], to }));
}

/**
 * What the initial noise is multiplied with: with Euler and Heun the first state is pure noise under linspace and trailing
 * spacing, else noise with the variance of a noisy sample. Source: init_noise_sigma of diffusers' schedulers.
 */
export function initialNoiseScale({ scheduler, timestepSpacing }: ScheduleConfig, first: NoiseLevel): number {
  const pure = (scheduler === 'euler' || scheduler === 'heun') && timestepSpacing !== 'leading';
  return pure ? Math.sqrt(1 - first.alphaBar) : 1;
}

/**
 * What the last state is multiplied with to be the sample as diffusers has it: where Euler ends with some noise, its state
 * there is x / sqrt(abar). Source: EulerDiscreteScheduler with final_sigmas_type sigma_min.
 */
export function finalScale({ scheduler }: ScheduleConfig, last: NoiseLevel): number {
  return scheduler === 'euler' ? 1 / Math.sqrt(last.alphaBar) : 1;
}

/** Finds points of the training's noise schedule, for solvers that need more than the grid. */
export interface NoiseSchedule {
  /** The level of a whole timestep. */
  readonly at: (t: number) => NoiseLevel;
  /** The level with a given abar, between timesteps. */
  readonly of: (alphaBar: number) => NoiseLevel;
}

/** The training's noise schedule. */
export function noiseSchedule(config: ScheduleConfig): NoiseSchedule {
  const alphaBar = alphasCumprod(config);
  const logs = trainedSigmas(config).map(Math.log);
  return {
    at: (t) => ({ t, alphaBar: alphaBar[t] }),
    of: (value) => ({ t: timestepOf(logs, sigmaOf(value)), alphaBar: value }),
  };
}

/** One step over a whole stretch of consecutive fine steps: what a coarse solver crosses at once. */
export function span(steps: readonly SolverStep[]): SolverStep {
  return { from: steps[0].from, to: steps[steps.length - 1].to, noise: combineNoise(steps) };
}
