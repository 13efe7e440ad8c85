import { stepsBetween, type SolverStep } from './grid.js';
import type { SigmaGrid } from './sigmas.js';

/** Sigmas of a flow matching model (SD3, Flux), whose noisy sample is (1 - sigma) x0 + sigma epsilon. */
export interface FlowSchedule {
  /** Shift towards noise: the scheduler's `shift`, or e^mu if it depends on the size of the image. */
  readonly shift: number;
  /** Sigma at the start of the last step, before the shift: `flowShift(1 / 1000, shift)` for SD3, 1 / N for Flux. */
  readonly last: number;
  /** Number of training timesteps; default 1000. */
  readonly trainTimesteps?: number;
}

/** shift sigma / (1 + (shift - 1) sigma). Source: Esser et al. 2024, formula (23). */
export function flowShift(sigma: number, shift: number): number {
  return (shift * sigma) / (1 + (shift - 1) * sigma);
}

/**
 * The sigmas of a sample and the matching timesteps of the network.
 * Source: diffusers FlowMatchEulerDiscreteScheduler.set_timesteps.
 */
export function flowSigmas({ shift, last, trainTimesteps = 1000 }: FlowSchedule, steps: number): SigmaGrid {
  const sigmas = Float32Array.from({ length: steps + 1 }, (_, i) =>
    i === steps ? 0 : flowShift(1 + (steps > 1 ? i / (steps - 1) : 0) * (last - 1), shift),
  );
  return { timesteps: [...sigmas.subarray(0, steps)].map((sigma) => Math.fround(sigma * trainTimesteps)), sigmas };
}

/**
 * The fine grid of a flow matching model for the solvers of this package. They work on
 * x = z / sqrt((1 - sigma)^2 + sigma^2), where z is the model's sample. DDIM on this grid is Euler's method on the flow.
 * The first level has no signal (abar = 0). The solvers ddim, euler, dpm1 and ddpm support that; heun and dpm2s do not,
 * because they divide by the signal.
 * @returns [steps]
 * @example
 * const steps = flowGrid({ shift: 3, last: 0.001 }, 28);
 */
export function flowGrid(schedule: FlowSchedule, steps: number): SolverStep[] {
  const { timesteps, sigmas } = flowSigmas(schedule, steps);
  const levels = Array.from(sigmas, (sigma, i) => ({
    t: timesteps[i] ?? -1,
    alphaBar: (1 - sigma) ** 2 / ((1 - sigma) ** 2 + sigma ** 2),
  }));
  return stepsBetween(levels);
}
