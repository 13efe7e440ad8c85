import type { NoiseLevel, NoiseSchedule } from '../schedule/grid.js';
import type { PredictionType } from '../schedule/config.js';
import type { MultistepSolver, Past } from './solver.js';

/** Adams-Bashforth of order 1 to 4. */
const WEIGHTS = [[1], [3 / 2, -1 / 2], [23, -16, 5].map((w) => w / 12), [55, -59, 37, -9].map((w) => w / 24)];

/**
 * PNDM with linear multisteps only (PLMS): DDIM's transfer of a weighted mean of the last four outputs. The second entry
 * of its grid repeats the first step, with the mean of both outputs.
 * Source: Liu et al. 2022, formulas (9), (12) and algorithm 2; diffusers PNDMScheduler.step_plms with skip_prk_steps.
 * @param schedule finds where the repeated step began
 * @param predictionType outputs are averaged as the network gives them, and made noise afterwards
 */
export function pndm(schedule: Pick<NoiseSchedule, 'at'>, predictionType: PredictionType): MultistepSolver {
  const outputOf = (past: Past): Float32Array => {
    const { x0, epsilon } = past.prediction;
    if (predictionType === 'epsilon') return epsilon;
    const { alphaBar } = past.step.from;
    return epsilon.map((value, k) => Math.sqrt(alphaBar) * value - Math.sqrt(1 - alphaBar) * x0[k]);
  };
  const transferred = (x: Float32Array, output: Float32Array, from: NoiseLevel, to: NoiseLevel): Float32Array => {
    const [signal, noise] = [Math.sqrt(from.alphaBar), Math.sqrt(1 - from.alphaBar)];
    const epsilon = predictionType === 'epsilon' ? output : output.map((value, k) => signal * value + noise * x[k]);
    return transfer(x, epsilon, from, to);
  };
  return {
    name: 'pndm',
    order: 2,
    history: 4,
    multistep(now, past) {
      const { from, to } = now.step;
      if (now.index === 1) {
        const mean = weighted([outputOf(now), outputOf(past[0])], [1 / 2, 1 / 2]);
        return transferred(past[0].x, mean, schedule.at(2 * from.t - to.t), from);
      }
      const outputs = [now, ...past.filter(({ index }) => index !== 1)].slice(0, 4).map(outputOf);
      return transferred(now.x, weighted(outputs, WEIGHTS[outputs.length - 1]), from, to);
    },
  };
}

/** Formula (9) of the paper, written without cancellation. */
function transfer(x: Float32Array, epsilon: Float32Array, from: NoiseLevel, to: NoiseLevel): Float32Array {
  const [a, b] = [from.alphaBar, to.alphaBar];
  const ofX = Math.sqrt(b / a);
  const ofEpsilon = (b - a) / (a * Math.sqrt(1 - b) + Math.sqrt(a * (1 - a) * b));
  return x.map((value, k) => ofX * value - ofEpsilon * epsilon[k]);
}

function weighted(values: readonly Float32Array[], weights: readonly number[]): Float32Array {
  return values[0].map((_, k) => values.reduce((sum, value, j) => sum + weights[j] * value[k], 0));
}
