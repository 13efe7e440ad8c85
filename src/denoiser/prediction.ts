import type { PredictionType } from '../schedule/config.js';

/** What a network says of a noisy sample, whatever its prediction type: x = sqrt(abar) x0 + sqrt(1 - abar) epsilon. */
export interface Prediction {
  /** the predicted sample without noise */
  readonly x0: Float32Array;
  /** the predicted noise */
  readonly epsilon: Float32Array;
}

/**
 * The network's output as a prediction. Source: diffusers DDIMScheduler.step, formulas (12) of the DDIM paper and the
 * v-prediction of Salimans, Ho 2022.
 * @param x sample at noise level `alphaBar`
 * @param output the network's output for it, of the same shape
 */
export function toPrediction(
  type: PredictionType,
  x: Float32Array,
  output: Float32Array,
  alphaBar: number,
): Prediction {
  const signal = Math.sqrt(alphaBar);
  const noise = Math.sqrt(1 - alphaBar);
  switch (type) {
    case 'epsilon':
      return { x0: x.map((value, k) => (value - noise * output[k]) / signal), epsilon: output };
    case 'sample':
      return { x0: output, epsilon: x.map((value, k) => (value - signal * output[k]) / noise) };
    case 'v_prediction':
      return {
        x0: x.map((value, k) => signal * value - noise * output[k]),
        epsilon: x.map((value, k) => signal * output[k] + noise * value),
      };
  }
}
