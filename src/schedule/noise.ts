import type { SolverStep } from './grid.js';

/**
 * Adds noise to each step, in order.
 * @param randn returns the next [size] standard normal numbers
 */
export function withNoise(steps: readonly SolverStep[], randn: () => Float32Array): SolverStep[] {
  return steps.map((step) => ({ ...step, noise: randn() }));
}

/**
 * The noise of one coarse step over many fine steps, with variance 1. Under DDPM's posterior, for a fixed prediction, the
 * fine steps add sum_j sqrt(snr(to_j) - snr(from_j)) z_j up to a factor, with snr = abar / (1 - abar). These are increments
 * of a Brownian motion in snr, so a coarse step sees the same noise as its fine steps.
 * @returns [size]; undefined if the steps have no noise
 */
export function combineNoise(steps: readonly SolverStep[]): Float32Array | undefined {
  const last = steps[steps.length - 1];
  if (!steps.every((step) => step.noise) || last.noise === undefined) return undefined;
  const weights = steps.map(({ from, to }) => snr(to.alphaBar) - snr(from.alphaBar));
  const total = weights.reduce((a, b) => a + b);
  // A step that ends without noise adds none.
  if (steps.length === 1 || total === Infinity || total <= 0) return last.noise;
  return last.noise.map((_, k) =>
    steps.reduce((sum, { noise }, j) => sum + Math.sqrt(Math.max(0, weights[j]) / total) * (noise?.[k] ?? 0), 0),
  );
}

function snr(alphaBar: number): number {
  return alphaBar / (1 - alphaBar);
}
