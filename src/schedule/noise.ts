import type { SolverStep } from './grid.js';

/**
 * Gives every step its noise, drawn in order.
 * @param draw the next [size] normal numbers
 */
export function withNoise(steps: readonly SolverStep[], draw: () => Float32Array): SolverStep[] {
  return steps.map((step) => ({ ...step, noise: draw() }));
}

/**
 * The noise, of variance 1, of one step over many. Under DDPM's posterior, for a fixed prediction, the noise that the
 * steps leave at the end is sum_j sqrt(snr(to_j) - snr(from_j)) z_j up to a factor, snr = abar / (1 - abar): the
 * increments of a Brownian motion in snr. So a coarse step sees the same noise as its fine steps.
 * @returns undefined if the steps have none
 */
export function combineNoise(steps: readonly SolverStep[]): Float32Array | undefined {
  const last = steps[steps.length - 1];
  if (!steps.every((step) => step.noise) || last.noise === undefined) return undefined;
  const weights = steps.map(({ from, to }) => snr(to.alphaBar) - snr(from.alphaBar));
  const total = weights.reduce((a, b) => a + b);
  // Into a sample without noise nothing is added.
  if (steps.length === 1 || total === Infinity || total <= 0) return last.noise;
  return last.noise.map((_, k) =>
    steps.reduce((sum, { noise }, j) => sum + Math.sqrt(Math.max(0, weights[j]) / total) * (noise?.[k] ?? 0), 0),
  );
}

function snr(alphaBar: number): number {
  return alphaBar / (1 - alphaBar);
}
