/** Scale between a VAE's values and latents: latents = (values - mean) * scaling / deviation. */
export interface LatentScale {
  readonly scaling: number;
  /** [channels] */
  readonly mean: readonly number[];
  /** [channels] */
  readonly deviation: readonly number[];
}

/**
 * Mean absolute change of an image, in grey levels, for a small change of its latents of root mean square 1. Latents have unit
 * variance in every model, so this belongs to the kind of VAE. Between images it differs by a factor of two; this is near the median.
 * Source: `npm run bench:stopping` on the bundled model. For VAEs of 16 channels (SD3, Flux) it is an estimate: the variance of the
 * image is that of all channels together, so a change of all of them by a share of their deviation changes the image by that share
 * of its own, whatever their number.
 */
export const VAE_GREY_LEVELS = 16.5;

/** Converts latents to values of the VAE, both [channels, height, width]. Source: diffusers StableDiffusionXLPipeline. */
export function fromLatents({ scaling, mean, deviation }: LatentScale, latents: Float32Array): Float32Array {
  return byChannel(latents, mean.length, (value, channel) => (value * deviation[channel]) / scaling + mean[channel]);
}

/** Converts values of the VAE to latents, both [channels, height, width]. */
export function toLatents({ scaling, mean, deviation }: LatentScale, values: Float32Array): Float32Array {
  return byChannel(values, mean.length, (value, channel) => ((value - mean[channel]) * scaling) / deviation[channel]);
}

/** Converts the values of each channel. Loops, because `map` takes ten times as long. */
function byChannel(
  values: Float32Array,
  channels: number,
  convert: (value: number, channel: number) => number,
): Float32Array {
  const converted = new Float32Array(values.length);
  const plane = values.length / channels;
  for (let channel = 0; channel < channels; channel++) {
    const end = (channel + 1) * plane;
    for (let k = channel * plane; k < end; k++) converted[k] = convert(values[k], channel);
  }
  return converted;
}
