import { SrdsError } from '../errors.js';
import { alphasCumprod } from './betas.js';
import { sigmaScheduler, type ScheduleConfig } from './config.js';
import { sigmaGrid, sigmaOf, timestepOf, trainedSigmas } from './sigmas.js';
import { checkTimestep, timesteps } from './timesteps.js';

/** A point of the noise schedule. */
export interface NoiseLevel {
  /** Timestep, as the network takes it; below 0 at the end of a trajectory. */
  readonly t: number;
  /** abar, the signal's share of the variance: 1 without noise, 0 without signal. */
  readonly alphaBar: number;
}

/** The interval of one solver step, from more noise to less. */
export interface SolverStep {
  readonly from: NoiseLevel;
  readonly to: NoiseLevel;
  /** Noise of variance 1 for stochastic solvers, [size]. It is part of the step, so the step is a pure function. */
  readonly noise?: Float32Array | undefined;
}

/**
 * The fine grid of a sample: one interval for each solver step, from noise to image, as the scheduler class of the
 * configuration takes them.
 *
 * With Euler, Heun and DPM-Solver a step ends where the next begins. A DDIM step ends at t - T/N, as in
 * DDIMScheduler.step; for most N that is not the next timestep. PNDM repeats its second timestep and so has one more
 * step, as in PNDMScheduler.set_timesteps.
 * @param steps number of steps, N
 * @param start the first step that is taken, for a sample that starts from an image
 * @returns [steps - start], or one more for pndm
 * @throws SrdsError INVALID_OPTION if the schedule cannot be sampled in this number of steps
 * @example
 * const steps = fineGrid(scheduleConfig({ timestepSpacing: 'trailing' }), 25);
 */
export function fineGrid(config: ScheduleConfig, steps: number, start = 0): SolverStep[] {
  if (sigmaScheduler(config.scheduler)) return overSigmas(config, steps).slice(start);
  const alphaBar = alphasCumprod(config);
  const final = config.setAlphaToOne ? 1 : alphaBar[0];
  const stride = Math.floor(config.trainTimesteps / steps);
  const all = timesteps(config, steps);
  if (config.scheduler === 'pndm') all.splice(1, 0, ...all.slice(1, 2));
  const list = all.slice(start);
  if (list.length === 0) return [];
  checkTimestep(config, list[0], steps);
  // The second entry of PNDM takes the first step again, from where it began.
  if (config.scheduler === 'pndm' && list.length > 1) checkTimestep(config, list[1] + stride, steps);
  if (alphaBar[list[0]] === 0 && config.predictionType === 'epsilon') {
    throw new SrdsError(
      'INVALID_OPTION',
      'a prediction of the sample or of v where a step starts without any signal (zero terminal SNR)',
      'epsilon, which does not determine the sample there',
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

/** Noise levels of the training, for solvers that evaluate between the points of the grid. */
export interface NoiseSchedule {
  /** The level at an integer timestep. */
  readonly at: (t: number) => NoiseLevel;
  /** The level with a given abar; its timestep may be fractional. */
  readonly of: (alphaBar: number) => NoiseLevel;
}

/** The noise schedule of the training. */
export function noiseSchedule(config: ScheduleConfig): NoiseSchedule {
  const alphaBar = alphasCumprod(config);
  const logs = trainedSigmas(config).map(Math.log);
  return {
    at: (t) => ({ t, alphaBar: alphaBar[t] }),
    of: (value) => ({ t: timestepOf(logs, sigmaOf(value)), alphaBar: value }),
  };
}
