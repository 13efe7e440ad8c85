import type { Denoiser } from '../run/denoiser.js';
import type { SolverStep } from '../schedule/grid.js';

/** A mixture of spherical Gaussians, whose denoiser is known in closed form: a model without a network. */
export interface Mixture {
  /** [components][dimensions] */
  readonly means: readonly (readonly number[])[];
  /** [components], positive */
  readonly weights: readonly number[];
  /** Standard deviation of every component. */
  readonly deviation: number;
}

/** Two components in the plane, so close that trajectories are curved. */
export const TWO_GAUSSIANS: Mixture = {
  means: [
    [1, -0.5],
    [-1.2, 0.8],
  ],
  weights: [0.4, 0.6],
  deviation: 0.5,
};

/** The ideal denoiser of a mixture: E[x0 | x], and the noise that x then has. */
export function mixtureDenoiser({ means, weights, deviation }: Mixture): Denoiser {
  return async ({ x, level: { alphaBar } }) => {
    const signal = Math.sqrt(alphaBar);
    const variance = alphaBar * deviation ** 2 + 1 - alphaBar;
    const logs = means.map((mean, k) => {
      const distance = mean.reduce((sum, m, d) => sum + (x[d] - signal * m) ** 2, 0);
      return Math.log(weights[k]) - distance / (2 * variance);
    });
    const top = Math.max(...logs);
    const shares = logs.map((log) => Math.exp(log - top));
    const total = shares.reduce((a, b) => a + b);
    const x0 = x.map((value, d) =>
      means.reduce((sum, mean, k) => {
        const posterior = mean[d] + ((signal * deviation ** 2) / variance) * (value - signal * mean[d]);
        return sum + (shares[k] / total) * posterior;
      }, 0),
    );
    return { x0, epsilon: x.map((value, d) => (value - signal * x0[d]) / Math.sqrt(1 - alphaBar)) };
  };
}

/** A smooth variance-preserving grid of `steps` steps. */
export function smoothGrid(steps: number): SolverStep[] {
  const level = (i: number) => ({
    t: 1000 * (1 - i / steps),
    alphaBar: Math.cos((1.5 * (1 - i / steps) * Math.PI) / 3.2) ** 2 * 0.999,
  });
  return Array.from({ length: steps }, (_, i) => ({ from: level(i), to: level(i + 1) }));
}
