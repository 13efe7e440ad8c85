import type { Bound, PredictionType } from '../schedule/config.js';
import { weighted } from '../tensor/operations.js';

/** What a network says of a noisy sample, whatever its prediction type: x = sqrt(abar) x0 + sqrt(1 - abar) epsilon. */
export interface Prediction {
  /** the predicted sample without noise */
  readonly x0: Float32Array;
  /** the predicted noise */
  readonly epsilon: Float32Array;
  /** a x0 + b epsilon without either of them being computed: all that a solver of first order needs. */
  readonly combine?: (a: number, b: number) => Float32Array;
}

/** a x0 + b epsilon, in one pass over memory where the prediction can. */
export function combined(prediction: Prediction, a: number, b: number): Float32Array {
  return prediction.combine?.(a, b) ?? weighted(a, prediction.x0, b, prediction.epsilon);
}

/**
 * The network's output as a prediction. Source: diffusers DDIMScheduler.step, formulas (12) of the DDIM paper and the
 * v-prediction of Salimans, Ho 2022.
 * @param x sample at noise level `alphaBar`; neither it nor the output may change as long as the prediction is used
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
      return { x0: difference(x, noise, output, signal), epsilon: output };
    case 'sample':
      return { x0: output, epsilon: difference(x, signal, output, noise) };
    case 'v_prediction':
      return new VelocityPrediction(x, output, signal, noise);
  }
}

/** x0 = signal x - noise v, epsilon = signal v + noise x; each computed if it is asked for. */
class VelocityPrediction implements Prediction {
  private sample: Float32Array | undefined;
  private rest: Float32Array | undefined;

  constructor(
    private readonly x: Float32Array,
    private readonly v: Float32Array,
    private readonly signal: number,
    private readonly noise: number,
  ) {}

  get x0(): Float32Array {
    return (this.sample ??= weighted(this.signal, this.x, -this.noise, this.v));
  }

  get epsilon(): Float32Array {
    return (this.rest ??= weighted(this.noise, this.x, this.signal, this.v));
  }

  combine(a: number, b: number): Float32Array {
    const { signal, noise } = this;
    return weighted(a * signal + b * noise, this.x, b * signal - a * noise, this.v);
  }
}

/** (x - a y) / b */
function difference(x: Float32Array, a: number, y: Float32Array, b: number): Float32Array {
  const values = new Float32Array(x.length);
  for (let k = 0; k < values.length; k++) values[k] = (x[k] - a * y[k]) / b;
  return values;
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
