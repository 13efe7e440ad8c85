/** A mixture of two Gaussians in three dimensions. */
export const MIXTURE = {
  means: [
    [1, -0.5, 0.2],
    [-1.2, 0.8, 0.1],
  ],
  weights: [0.4, 0.6],
  deviation: 0.3,
};
