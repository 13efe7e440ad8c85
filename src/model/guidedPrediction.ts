import type { PredictionType } from '../schedule/config.js';
import { networkWeights, toPrediction, type Combination, type Prediction } from '../solver/prediction.js';
import { guide } from './guidance.js';

/**
 * The prediction of classifier-free guidance: of u + scale (c - u), where u is the unconditional and c the conditional
 * output of the network. Guidance is part of each combination, so that a first-order step is one pass over memory.
 */
export class GuidedPrediction implements Prediction {
  private guided: Prediction | undefined;

  /**
   * @param x sample at noise level `alphaBar`; neither it nor the outputs may change while the prediction is used
   * @param unconditional the network's output without the prompt, of the shape of x
   * @param conditional the network's output with the prompt, of the shape of x
   */
  constructor(
    private readonly type: PredictionType,
    private readonly x: Float32Array,
    private readonly unconditional: Float32Array,
    private readonly conditional: Float32Array,
    private readonly scale: number,
    private readonly alphaBar: number,
  ) {}

  get x0(): Float32Array {
    return this.whole().x0;
  }

  get epsilon(): Float32Array {
    return this.whole().epsilon;
  }

  /** a x0 + b epsilon, each element computed in float64 and rounded once. */
  combine(combination: Combination): Float32Array {
    const { x, unconditional, conditional, scale } = this;
    const [ofX, ofOutput] = networkWeights(this.type, combination, this.alphaBar);
    const ofUnconditional = ofOutput * (1 - scale);
    const ofConditional = ofOutput * scale;
    const { length } = x;
    if (unconditional.length !== length || conditional.length !== length)
      throw new RangeError(`outputs of ${unconditional.length} and ${conditional.length} elements for ${length}`);
    const sum = new Float32Array(length);
    for (let k = 0; k < length; k++)
      sum[k] = ofX * x[k] + ofUnconditional * unconditional[k] + ofConditional * conditional[k];
    return sum;
  }

  private whole(): Prediction {
    const { type, x, unconditional, conditional, scale, alphaBar } = this;
    return (this.guided ??= toPrediction(type, x, guide(unconditional.slice(), conditional, scale), alphaBar));
  }
}
