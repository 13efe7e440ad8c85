import type { ImageSize, Level } from './family.js';
import type { ModelFolder, TextEncoder } from './modelFolder.js';

/** Bytes of a float32 number. */
const BYTES = 4;
/** Scores of an attention and their softmax are in memory at the same time. */
const SCORES = 2;
/** Query, key, value and output of an attention, with their transposed and scaled copies and the inputs of its block. */
const PROJECTIONS = 12;
/** Feature maps of one resolution that are in memory at the same time, in a UNet with those that skip connections keep. */
const DENOISER_MAPS = 12;
const VAE_MAPS = 4;

/** Bytes that ONNX Runtime takes on a CPU beside the weights, and keeps. */
export interface ActivationMemory {
  /** For each row of a batch of the denoising network. */
  readonly denoiserRow: number;
  /** For decoding one image, or encoding one. */
  readonly vaeRow: number;
}

/**
 * Estimates the memory of activations from the configuration of a model: the largest attention, 2 heads positions^2 scores in float32,
 * or the largest feature maps. Measured peaks of the bundled model (VmHWM less the memory after loading) are within 10 % of it at
 * 512 pixels and 25 % at 256, denoising network and VAE alike; at 128 pixels, where all is a few megabytes, within a factor of two
 * (`test/model/activationMemory.integration.test.ts`). For a tiny Flux they are within 8 % at 4160 tokens and 20 % at 1088. It is too high for a graph whose export fused its attentions.
 * @param size of the image, in pixels
 */
export function activationMemory(model: ModelFolder, { width, height }: ImageSize): ActivationMemory {
  const { network, vaeChannels, vaeAttention, vaeFactor } = model;
  const denoiser = network.levels((width / vaeFactor) * (height / vaeFactor));
  const vae = vaeChannels.map((_, k): Level => {
    const isLast = k === vaeChannels.length - 1;
    // A level starts with the channels of the next smaller one.
    const channels = vaeChannels[isLast ? k : k + 1];
    return { positions: (width * height) / 4 ** k, channels, heads: isLast && vaeAttention ? 1 : 0 };
  });
  return { denoiserRow: peakOf(denoiser, DENOISER_MAPS), vaeRow: peakOf(vae, VAE_MAPS) };
}

/**
 * Estimates the memory of activations of a text encoder for one prompt, which ONNX Runtime keeps too. Measured: T5-XXL takes 87 MB for 256
 * tokens and 266 MB for 512, 4 and 13 % more than this. CLIP takes less than 10 MB, which is not counted.
 */
export function promptMemory({ attention }: TextEncoder, tokens: number): number {
  return attention ? peakOf([{ positions: tokens, ...attention }], 0) : 0;
}

function peakOf(levels: readonly Level[], maps: number): number {
  const peaks = levels.flatMap(({ positions, channels, heads }) => [
    maps * channels * positions,
    heads > 0 ? SCORES * heads * positions ** 2 + PROJECTIONS * channels * positions : 0,
  ]);
  return BYTES * Math.max(...peaks);
}
