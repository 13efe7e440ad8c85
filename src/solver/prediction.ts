import type { Bound, PredictionType } from '../schedule/config.js';
import { weighted } from '../tensor/operations.js';

/** Weights of a sum a x0 + b epsilon. */
export type Combination = readonly [x0: number, epsilon: number];

/** A network's prediction for a noisy sample x = sqrt(abar) x0 + sqrt(1 - abar) epsilon, whatever its prediction type. */
export interface Prediction {
  /** The predicted sample without noise, [size]. */
  readonly x0: Float32Array;
  /** The predicted noise, [size]. */
  readonly epsilon: Float32Array;
  /** Computes a x0 + b epsilon without computing either of them: all that a first-order solver needs. */
  readonly combine?: (combination: Combination) => Float32Array;
}

/** Computes a x0 + b epsilon, in one pass over memory if the prediction supports that. */
export function combined(prediction: Prediction, combination: Combination): Float32Array {
  const [a, b] = combination;
  return prediction.combine?.(combination) ?? weighted(a, prediction.x0, b, prediction.epsilon);
}

/**
 * The network's output as a prediction.
 * @param x sample at noise level `alphaBar`, [size]; neither it nor the output may change while the prediction is used
 * @param output the network's output for x, [size]
 */
export function toPrediction(
  type: PredictionType,
  x: Float32Array,
  output: Float32Array,
  alphaBar: number,
): Prediction {
  return new NetworkPrediction(type, x, output, alphaBar);
}

/** Computes x0 and epsilon on first use. */
class NetworkPrediction implements Prediction {
  private sample: Float32Array | undefined;
  private noise: Float32Array | undefined;

  constructor(
    private readonly type: PredictionType,
    private readonly x: Float32Array,
    private readonly output: Float32Array,
    private readonly alphaBar: number,
  ) {}

  get x0(): Float32Array {
    return (this.sample ??= this.type === 'sample' ? this.output : this.combine([1, 0]));
  }

  get epsilon(): Float32Array {
    return (this.noise ??= this.type === 'epsilon' ? this.output : this.combine([0, 1]));
  }

  combine(combination: Combination): Float32Array {
    const [ofX, ofOutput] = networkWeights(this.type, combination, this.alphaBar);
    return weighted(ofX, this.x, ofOutput, this.output);
  }
}

/**
 * Weights of x and of the network's output in a x0 + b epsilon. With the signal s = sqrt(abar) and the noise n = sqrt(1 - abar):
 *
 *     epsilon         x0 = (x - n output) / s       epsilon = output
 *     sample          x0 = output                   epsilon = (x - s output) / n
 *     v_prediction    x0 = s x - n output           epsilon = s output + n x
 *     flow            x0 = (x - n output) / (s + n)   epsilon = (x + s output) / (s + n)
 *
 * Source: diffusers DDIMScheduler.step, formulas (12) of the DDIM paper and the v-prediction of Salimans, Ho 2022. For a flow, see
 * `fromVelocity`: its sigma is n / (s + n), and its sample x / (s + n).
 */
export function networkWeights(
  type: PredictionType,
  [a, b]: Combination,
  alphaBar: number,
): readonly [x: number, output: number] {
  const s = Math.sqrt(alphaBar);
  const n = Math.sqrt(1 - alphaBar);
  switch (type) {
    case 'epsilon':
      return [a / s, b - (a * n) / s];
    case 'sample':
      return [b / n, a - (b * s) / n];
    case 'v_prediction':
      return [a * s + b * n, b * s - a * n];
    case 'flow':
      return [(a + b) / (s + n), (b * s - a * n) / (s + n)];
  }
}

/**
 * A prediction whose sample is kept in bounds; the noise stays as it is. Source: diffusers DDIMScheduler.step,
 * _threshold_sample.
 */
export function bounded(prediction: Prediction, bound: Bound | undefined): Prediction {
  if (bound === undefined) return prediction;
  const { x0, epsilon } = prediction;
  if (bound.kind === 'clip') return { x0: clamped(x0, bound.range), epsilon };
  const s = Math.min(Math.max(quantile(x0.map(Math.abs), bound.ratio), 1), bound.max);
  return { x0: clamped(x0, s).map((value) => value / s), epsilon };
}

function clamped(values: Float32Array, range: number): Float32Array {
  return values.map((value) => Math.min(range, Math.max(-range, value)));
}

/** torch.quantile: between neighbours it is interpolated. */
function quantile(values: Float32Array, ratio: number): number {
  const sorted = values.sort();
  const at = ratio * (sorted.length - 1);
  const low = Math.floor(at);
  return sorted[low] + (at - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
}
