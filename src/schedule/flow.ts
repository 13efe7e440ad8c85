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
  /** Whether the shift depends on the size of the image, which diffusers computes as shift / (shift + 1 / sigma - 1); default false. */
  readonly isDynamic?: boolean;
  /** Whether diffusers has the sigmas in float32 before it shifts them, as those that Flux's pipeline gives; default false. */
  readonly single?: boolean;
}

/** How a flow matching model was trained, and how its pipeline spaces sigmas. `flowSchedule` makes a schedule of it. */
export interface FlowConfig {
  readonly scheduler: 'flow';
  readonly predictionType: 'flow';
  readonly trainTimesteps: number;
  /** The scheduler's `shift`, or e^mu of `dynamicShift`. */
  readonly shift: number;
  /** Whether the shift depends on the size of the image. */
  readonly isDynamic: boolean;
  /** Sigmas before the shift: `training`, over the range of the scheduler, as SD3 has them; `even`, from 1 to 1 / N, as Flux has. */
  readonly spacing: 'training' | 'even';
}

/** Shifts of a schedule that depends on the size of the image, as exponents, for two numbers of tokens. */
export interface DynamicShift {
  readonly base: { readonly tokens: number; readonly shift: number };
  readonly max: { readonly tokens: number; readonly shift: number };
  /** Whether mu is the exponent of the shift, or the shift itself. */
  readonly type: 'exponential' | 'linear';
}

/** mu for an image of so many tokens. Source: calculate_shift of diffusers' Flux pipeline, in its order of operations. */
export function dynamicShift({ base, max, type }: DynamicShift, tokens: number): number {
  const slope = (max.shift - base.shift) / (max.tokens - base.tokens);
  const mu = tokens * slope + (base.shift - slope * base.tokens);
  return type === 'linear' ? mu : Math.exp(mu);
}

/** shift sigma / (1 + (shift - 1) sigma). Source: Esser et al. 2024, formula (23). */
export function flowShift(sigma: number, shift: number): number {
  return (shift * sigma) / (1 + (shift - 1) * sigma);
}

/** The schedule for a number of steps. Source: diffusers FlowMatchEulerDiscreteScheduler, FluxPipeline. */
export function flowSchedule({ shift, isDynamic, spacing, trainTimesteps }: FlowConfig, steps: number): FlowSchedule {
  const common = { shift, isDynamic, trainTimesteps };
  if (spacing === 'even') return { ...common, last: 1 / steps, single: true };
  const smallest = Math.fround(1 / trainTimesteps);
  // A static shift is applied to the range first, in float32, and to each sigma again.
  return { ...common, last: isDynamic ? smallest : shifted(smallest, { shift, single: true }) };
}

/**
 * The sigmas of a sample and the matching timesteps of the network.
 * Source: diffusers FlowMatchEulerDiscreteScheduler.set_timesteps.
 */
export function flowSigmas(schedule: FlowSchedule, steps: number): SigmaGrid {
  const { last, trainTimesteps = 1000 } = schedule;
  const sigmas = Float32Array.from({ length: steps + 1 }, (_, i) =>
    i === steps ? 0 : shifted(1 + (steps > 1 ? i / (steps - 1) : 0) * (last - 1), schedule),
  );
  return { timesteps: [...sigmas.subarray(0, steps)].map((sigma) => Math.fround(sigma * trainTimesteps)), sigmas };
}

/** A shifted sigma, in diffusers' order of operations. */
function shifted(given: number, { shift, isDynamic, single }: Omit<FlowSchedule, 'last'>): number {
  const round = single ? Math.fround : (value: number) => value;
  const sigma = round(given);
  if (isDynamic) return round(round(shift) / round(round(shift) + round(round(1 / sigma) - 1)));
  return round(round(round(shift) * sigma) / round(1 + round(round(shift - 1) * sigma)));
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
