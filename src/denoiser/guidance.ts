/**
 * Classifier-free guidance: unconditional + scale (conditional - unconditional). Source: Ho, Salimans 2022, as in
 * diffusers' StableDiffusionPipeline.
 */
export function guide(unconditional: Float32Array, conditional: Float32Array, scale: number): Float32Array {
  return unconditional.map((value, k) => value + scale * (conditional[k] - value));
}
