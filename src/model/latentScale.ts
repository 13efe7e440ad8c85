/** Latents are `(vae - mean) * scaling / deviation` of what the VAE works with. */
export interface LatentScale {
  readonly scaling: number;
  /** [channels] */
  readonly mean: readonly number[];
  /** [channels] */
  readonly deviation: readonly number[];
}

/** What the VAE works with, from latents, both [channels, height, width]. Source: diffusers StableDiffusionXLPipeline. */
export function fromLatents({ scaling, mean, deviation }: LatentScale, latents: Float32Array): Float32Array {
  const plane = latents.length / mean.length;
  return latents.map((value, k) => {
    const channel = Math.floor(k / plane);
    return (value * deviation[channel]) / scaling + mean[channel];
  });
}

/** Latents, from what the VAE works with, both [channels, height, width]. */
export function toLatents({ scaling, mean, deviation }: LatentScale, values: Float32Array): Float32Array {
  const plane = values.length / mean.length;
  return values.map((value, k) => {
    const channel = Math.floor(k / plane);
    return ((value - mean[channel]) * scaling) / deviation[channel];
  });
}
