import { SrdsError, wholeNumber } from '../errors.js';
import type { ScheduleConfig } from './config.js';

/**
 * The timesteps of a sample, from noise to image, without Karras sigmas. Those of Euler and Heun with linspace may be
 * fractional. Source: set_timesteps of diffusers' schedulers.
 *
 * One difference is deliberate: for 62 values of `steps`, 961 among them, diffusers' trailing spacing ends with a further
 * entry, -1. It takes the noise level of the wrong end and ruins the sample, so entries below 0 are dropped here.
 * @param steps number of steps
 * @returns [steps]
 * @throws SrdsError INVALID_OPTION if the schedule cannot be sampled in this number of steps
 */
export function timesteps(config: ScheduleConfig, steps: number): number[] {
  const train = config.trainTimesteps;
  wholeNumber('a number of steps', steps, 1, train);
  const list = spaced(config, steps).filter((t) => t >= 0);
  if (list[0] >= train) {
    throw new SrdsError(
      'INVALID_OPTION',
      `timesteps below ${train}`,
      `${list[0]} with ${steps} steps, leading spacing and offset ${config.stepsOffset}`,
      'choose fewer steps',
    );
  }
  return list;
}

function spaced({ timestepSpacing, trainTimesteps, stepsOffset, scheduler }: ScheduleConfig, steps: number): number[] {
  // DPM-Solver spaces one more point, the last, which stands for the sample itself.
  const ends = scheduler === 'dpm' ? steps + 1 : steps;
  switch (timestepSpacing) {
    case 'leading': {
      const ratio = Math.floor(trainTimesteps / ends);
      return Array.from({ length: steps }, (_, i) => (ends - 1 - i) * ratio + stepsOffset);
    }
    case 'trailing': {
      // numpy.arange(T, 0, -T/N) rounds its length up and computes each entry as start + i * (second - start).
      const ratio = trainTimesteps / steps;
      const delta = trainTimesteps - ratio - trainTimesteps;
      return Array.from(
        { length: Math.ceil(trainTimesteps / ratio) },
        (_, i) => roundHalfEven(trainTimesteps + i * delta) - 1,
      );
    }
    case 'linspace': {
      if (ends === 1) return [0];
      const step = (trainTimesteps - 1) / (ends - 1);
      const round = scheduler === 'euler' || scheduler === 'heun' ? Math.fround : roundHalfEven;
      return Array.from({ length: steps }, (_, i) => (i === 0 ? trainTimesteps - 1 : round((ends - 1 - i) * step)));
    }
  }
}

/** numpy.round, which rounds halves to even. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}
