import type { ScheduleConfig } from './config.js';
import { flowGrid, flowSchedule, type FlowConfig } from './flow.js';
import { fineGrid, type NoiseLevel, type SolverStep } from './grid.js';

/** The noise schedule of a diffusion model or of a flow matching model, told apart by `scheduler`. */
export type Schedule = ScheduleConfig | FlowConfig;

/**
 * The fine grid of a sample.
 * @param steps number of steps, N
 * @param start the first step that is taken, for a sample that starts from an image
 * @throws SrdsError INVALID_OPTION if the schedule cannot be sampled in this number of steps
 */
export function stepsOf(schedule: Schedule, steps: number, start = 0): SolverStep[] {
  return schedule.scheduler === 'flow'
    ? flowGrid(flowSchedule(schedule, steps), steps).slice(start)
    : fineGrid(schedule, steps, start);
}

/**
 * Factor of the initial noise. A flow starts from noise alone, and under linspace and trailing spacing Euler and Heun do; all
 * others start from noise with the variance of a noisy sample, 1. Source: init_noise_sigma of diffusers' schedulers.
 */
export function initialNoiseScale(schedule: Schedule, first: NoiseLevel): number {
  const { scheduler } = schedule;
  const isPure =
    scheduler === 'flow' || ((scheduler === 'euler' || scheduler === 'heun') && schedule.timestepSpacing !== 'leading');
  return isPure ? Math.sqrt(1 - first.alphaBar) : 1;
}

/**
 * Factor from the last state to diffusers' sample. Euler's state in diffusers is x / sqrt(abar), which differs from x if
 * the last step ends with noise. Source: EulerDiscreteScheduler with final_sigmas_type sigma_min.
 */
export function finalScale({ scheduler }: Schedule, last: NoiseLevel): number {
  return scheduler === 'euler' ? 1 / Math.sqrt(last.alphaBar) : 1;
}
