import { Generator } from '../random/generator.js';
import { withNoise } from '../schedule/noise.js';
import { finalScale, initialNoiseScale } from '../schedule/schedule.js';
import type { SerialOptions } from '../sampler/serial.js';
import { masked } from '../solver/masked.js';
import { addsNoise } from '../solver/registry.js';
import { subsampled } from '../image/mask.js';
import { toLatents } from '../model/latentScale.js';
import { latentDims, type ModelFolder } from '../model/modelFolder.js';
import { sizeOf } from '../tensor/tensor.js';
import type { Settings } from './options.js';
import type { PreparedRun } from './prepareRun.js';

/**
 * Where an image's trajectory begins, the steps that it takes, their noise included, and the solver, masked if there is a mask.
 *
 * Generates all random numbers of an image, in diffusers' order for one generator: those of the encoder, the initial noise, then the
 * noise of each step. With a mask diffusers also encodes the image without the masked part, which only other networks take.
 * Source: prepare_latents of diffusers' pipelines, add_noise of its schedulers.
 * @param image its index among those of the call
 */
export function prepareLatents(
  settings: Settings,
  model: ModelFolder,
  image: number,
  { encodedInit: encoded, mask }: Pick<PreparedRun, 'encodedInit' | 'mask'>,
): SerialOptions {
  const { grid, schedule, solver, method, eta, strength } = settings;
  const generator = new Generator(settings.seeds[image]);
  const randn = (count: number) => generator.randn(count);
  const dims = latentDims(model, settings);
  const size = sizeOf(dims);
  const { layout } = model.family;
  const latents = encoded && toLatents(model.latentScale, sampled(encoded, size, randn));
  const noise = settings.noise?.slice(image * size, (image + 1) * size) ?? randn(size);
  const { from } = grid[0];
  const isPureNoise = !latents || (mask !== undefined && strength === 1);
  const [ofLatents, ofNoise] = isPureNoise
    ? [0, initialNoiseScale(schedule, from)]
    : [Math.sqrt(from.alphaBar), Math.sqrt(1 - from.alphaBar)];
  const x = noise.map((z, k) => ofLatents * (latents?.[k] ?? 0) + ofNoise * z);
  if (mask && isDistribution(encoded, size)) randn(size);
  const drawn = () => layout.toState(randn(size), dims);
  const steps = addsNoise(solver, eta) ? withNoise(grid, drawn) : grid;
  const start = { x: layout.toState(x, dims), steps, solver: method };
  if (!latents || !mask) return start;
  const free = layout.toState(latentMask(mask, settings.width, dims), dims);
  const known = layout.toState(latents, dims);
  const endScale = 1 / finalScale(schedule, grid[grid.length - 1].to);
  return { ...start, solver: masked(method, { free, known, noise: layout.toState(noise, dims), steps, endScale }) };
}

/** A mask of pixels as one of latents, the same for each channel. */
function latentMask(mask: Uint8Array, width: number, [channels, , columns]: readonly number[]): Float32Array {
  const plane = subsampled(mask, width, width / columns);
  return Float32Array.from({ length: channels * plane.length }, (_, k) => plane[k % plane.length]);
}

/** Whether an encoder's output has means and variances. Some exports sample inside the graph. */
function isDistribution(encoded: Float32Array | undefined, size: number): boolean {
  return encoded !== undefined && encoded.length !== size;
}

/** A sample of the encoder's distribution. Source: diffusers DiagonalGaussianDistribution.sample. */
function sampled(encoded: Float32Array, size: number, randn: (count: number) => Float32Array): Float32Array {
  if (!isDistribution(encoded, size)) return encoded;
  const sample = encoded.slice(0, size);
  const deviation = (k: number) => Math.exp(Math.min(20, Math.max(-30, encoded[size + k])) / 2);
  randn(size).forEach((z, k) => (sample[k] += deviation(k) * z));
  return sample;
}
