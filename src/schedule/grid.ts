import { alphasCumprod } from './betas.js';
import type { ScheduleConfig } from './config.js';
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
}

/**
 * The fine grid of a sample. A step carries its own end, t - T/N as in diffusers' DDIMScheduler.step, which for most N is
 * not the next entry of the timesteps.
 * @returns one interval a step, from noise to image
 */
export function fineGrid(config: ScheduleConfig, steps: number): SolverStep[] {
  const alphaBar = alphasCumprod(config);
  const final = config.setAlphaToOne ? 1 : alphaBar[0];
  const stride = Math.floor(config.trainTimesteps / steps);
  return timesteps(config, steps).map((t) => {
    const end = t - stride;
    return { from: { t, alphaBar: alphaBar[t] }, to: { t: end, alphaBar: end >= 0 ? alphaBar[end] : final } };
  });
}

/** One step over a whole stretch of consecutive fine steps: what a coarse solver crosses at once. */
export function span(steps: readonly SolverStep[]): SolverStep {
  return { from: steps[0].from, to: steps[steps.length - 1].to };
}
