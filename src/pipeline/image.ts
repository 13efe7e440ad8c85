/** An 8-bit colour image, [height, width, 3]. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/**
 * What a VAE decoder gives, as an 8-bit image: round(255 clamp(x / 2 + 1/2, 0, 1)).
 * Source: diffusers VaeImageProcessor.postprocess.
 * @param decoded [3, height, width], -1 to 1
 */
export function toRgb(decoded: Float32Array, width: number, height: number): RgbImage {
  const plane = width * height;
  if (decoded.length !== 3 * plane) throw new RangeError(`${decoded.length} values are no ${width}x${height} image`);
  const data = new Uint8Array(3 * plane);
  for (let channel = 0; channel < 3; channel++) {
    for (let k = 0; k < plane; k++) {
      const value = decoded[channel * plane + k] / 2 + 0.5;
      data[k * 3 + channel] = Math.round(255 * Math.min(1, Math.max(0, value)));
    }
  }
  return { width, height, data };
}
