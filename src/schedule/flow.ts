import { stepsBetween, type SolverStep } from './grid.js';
import type { SigmaGrid } from './sigmas.js';

/** How a flow matching model (SD3, Flux) spreads its sigmas, where a sample is (1 - sigma) x0 + sigma epsilon. */
export interface FlowSchedule {
  /** Shift towards noise: the scheduler's `shift`, or e^mu where it depends on the size of the image. */
  readonly shift: number;
  /** Sigma of the last step's start before it is shifted: SD3 `flowShift(1 / 1000, shift)`, Flux's pipeline 1 / N. */
  readonly last: number;
  /** Default 1000. */
  readonly trainTimesteps?: number;
}

/** shift sigma / (1 + (shift - 1) sigma). Source: Esser et al. 2024, formula (23). */
export function flowShift(sigma: number, shift: number): number {
  return (shift * sigma) / (1 + (shift - 1) * sigma);
}

/**
 * The sigmas of `steps` steps and the timesteps that the network is told.
 * Source: diffusers FlowMatchEulerDiscreteScheduler.set_timesteps.
 */
export function flowSigmas({ shift, last, trainTimesteps = 1000 }: FlowSchedule, steps: number): SigmaGrid {
  const sigmas = Float32Array.from({ length: steps + 1 }, (_, i) =>
    i === steps ? 0 : flowShift(1 + (steps > 1 ? i / (steps - 1) : 0) * (last - 1), shift),
  );
  return { timesteps: [...sigmas.subarray(0, steps)].map((sigma) => Math.fround(sigma * trainTimesteps)), sigmas };
}

/**
 * The fine grid of a flow matching model for the solvers here: their samples are x = z / sqrt((1 - sigma)^2 + sigma^2), with
 * z the model's own. DDIM on it is Euler's method of the flow. The first level has no signal at all, so solvers that divide
 * by it (heun, dpm2s) do not go with it; ddim, euler, dpm1 and ddpm do.
 */
export function flowGrid(schedule: FlowSchedule, steps: number): SolverStep[] {
  const { timesteps, sigmas } = flowSigmas(schedule, steps);
  const levels = Array.from(sigmas, (sigma, i) => ({
    t: timesteps[i] ?? -1,
    alphaBar: (1 - sigma) ** 2 / ((1 - sigma) ** 2 + sigma ** 2),
  }));
  return stepsBetween(levels);
}
