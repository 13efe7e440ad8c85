import { extrapolate } from '../tensor/operations.js';

/**
 * Classifier-free guidance: unconditional + scale (conditional - unconditional). Source: Ho, Salimans 2022, as in
 * diffusers' StableDiffusionPipeline.
 * @param unconditional overwritten with the result
 * @returns `unconditional`
 */
export function guide(unconditional: Float32Array, conditional: Float32Array, scale: number): Float32Array {
  return extrapolate(unconditional, conditional, scale);
}

/**
 * Rescales guided output towards the standard deviation of the conditional output, against overexposure.
 * @param rescale share of the rescaled output, 0 to 1
 * Source: Lin et al. 2023, section 3.4; diffusers rescale_noise_cfg.
 */
export function rescaleGuidance(guided: Float32Array, conditional: Float32Array, rescale: number): Float32Array {
  if (rescale === 0) return guided;
  const factor = rescale * (deviation(conditional) / deviation(guided)) + 1 - rescale;
  return guided.map((value) => factor * value);
}

/** torch.std: the standard deviation of a sample, with n - 1. */
function deviation(values: Float32Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  const mean = sum / values.length;
  let squares = 0;
  for (const value of values) squares += (value - mean) ** 2;
  return Math.sqrt(squares / (values.length - 1));
}
