import { Generator } from '../random/generator.js';
import type { SolverStep } from '../schedule/grid.js';
import { withNoise } from '../schedule/noise.js';
import { initialNoiseScale } from '../schedule/schedule.js';
import { addsNoise } from '../solver/registry.js';
import { toLatents } from '../model/latentScale.js';
import { latentDims, type ModelFolder } from '../model/modelFolder.js';
import { sizeOf } from '../tensor/tensor.js';
import type { Settings } from './options.js';

/** Where an image's trajectory begins and the steps that it takes, their noise included. */
export interface Start {
  readonly x: Float32Array;
  readonly steps: readonly SolverStep[];
}

/**
 * Generates all random numbers of an image, in diffusers' order for one generator: those of the encoder, the initial noise, then the
 * noise of each step. Source: prepare_latents of diffusers' pipelines, add_noise of its schedulers.
 * @param image its index among those of the call
 * @param encoded output of the VAE encoder for the initial image
 */
export function prepareLatents(
  settings: Settings,
  model: ModelFolder,
  image: number,
  encoded: Float32Array | undefined,
): Start {
  const { grid, schedule, solver, eta } = settings;
  const generator = new Generator(settings.seeds[image]);
  const randn = (count: number) => generator.randn(count);
  const dims = latentDims(model, settings);
  const size = sizeOf(dims);
  const { layout } = model.family;
  const latents = encoded && toLatents(model.latentScale, sampled(encoded, size, randn));
  const noise = settings.noise?.slice(image * size, (image + 1) * size) ?? randn(size);
  const { from } = grid[0];
  const [ofLatents, ofNoise] = latents
    ? [Math.sqrt(from.alphaBar), Math.sqrt(1 - from.alphaBar)]
    : [0, initialNoiseScale(schedule, from)];
  const x = noise.map((z, k) => ofLatents * (latents?.[k] ?? 0) + ofNoise * z);
  const drawn = () => layout.toState(randn(size), dims);
  return { x: layout.toState(x, dims), steps: addsNoise(solver, eta) ? withNoise(grid, drawn) : grid };
}

/** A sample of the encoder's distribution. Source: diffusers DiagonalGaussianDistribution.sample. */
function sampled(encoded: Float32Array, size: number, randn: (count: number) => Float32Array): Float32Array {
  // Some exports sample inside the graph.
  if (encoded.length === size) return encoded;
  const sample = encoded.slice(0, size);
  const deviation = (k: number) => Math.exp(Math.min(20, Math.max(-30, encoded[size + k])) / 2);
  randn(size).forEach((z, k) => (sample[k] += deviation(k) * z));
  return sample;
}
