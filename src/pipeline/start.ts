import { Generator } from '../random/generator.js';
import { initialNoiseScale, type SolverStep } from '../schedule/grid.js';
import { withNoise } from '../schedule/noise.js';
import { addsNoise } from '../solver/catalog.js';
import type { RgbImage } from './image.js';
import type { Networks } from './network.js';
import type { Settings } from './options.js';

/** Where an image's trajectory begins and the steps that it takes, their noise included. */
export interface Start {
  readonly x: Float32Array;
  readonly steps: readonly SolverStep[];
}

/**
 * Draws all randomness of an image, in the order in which diffusers does with one generator: the encoder's, the initial
 * noise, then that of each step. Source: prepare_latents of diffusers' pipelines, add_noise of its schedulers.
 * @param image its index among those of the call
 * @param size of the latents
 * @param init the initial image, at the size of the result
 */
export async function drawStart(
  settings: Settings,
  image: number,
  size: number,
  init: RgbImage | undefined,
  networks: Networks,
  signal: AbortSignal,
): Promise<Start> {
  const { grid, schedule, solver, eta } = settings;
  const generator = new Generator(settings.seeds[image]);
  const randn = (count: number) => generator.randn(count);
  const latents = init && (await networks.encode(init, randn, signal));
  const noise = settings.noise?.slice(image * size, (image + 1) * size) ?? randn(size);
  const { from } = grid[0];
  const [ofLatents, ofNoise] = latents
    ? [Math.sqrt(from.alphaBar), Math.sqrt(1 - from.alphaBar)]
    : [0, initialNoiseScale(schedule, from)];
  const x = noise.map((z, k) => ofLatents * (latents?.[k] ?? 0) + ofNoise * z);
  return { x, steps: addsNoise(solver, eta) ? withNoise(grid, () => randn(size)) : grid };
}
