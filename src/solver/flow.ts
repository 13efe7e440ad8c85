import type { NoiseLevel } from '../schedule/grid.js';
import type { PredictionType } from '../schedule/config.js';
import type { Prediction } from './prediction.js';

/** sigma of a flow, where the sample is (1 - sigma) x0 + sigma epsilon, at a level of `flowGrid`. */
export function flowSigma({ alphaBar }: NoiseLevel): number {
  const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
  return noise / (signal + noise);
}

/** The input of a flow matching network, (1 - sigma) x0 + sigma epsilon, from a solver's sample, [size]. */
export function toFlow(x: Float32Array, level: NoiseLevel): Float32Array {
  const sigma = flowSigma(level);
  const scale = Math.hypot(1 - sigma, sigma);
  return x.map((value) => scale * value);
}

/** The input of a network, from a solver's sample, [size]. Only that of a flow matching network differs from it. */
export function networkSample(type: PredictionType, x: Float32Array, level: NoiseLevel): Float32Array {
  return type === 'flow' ? toFlow(x, level) : x;
}

/**
 * A flow matching network's output, the velocity epsilon - x0, as a prediction. Source: Esser et al. 2024, section 2;
 * diffusers FlowMatchEulerDiscreteScheduler.step.
 * @param z input of the network, [size]
 * @param velocity output of the network, [size]
 */
export function fromVelocity(z: Float32Array, velocity: Float32Array, level: NoiseLevel): Prediction {
  const sigma = flowSigma(level);
  return {
    x0: z.map((value, k) => value - sigma * velocity[k]),
    epsilon: z.map((value, k) => value + (1 - sigma) * velocity[k]),
  };
}
