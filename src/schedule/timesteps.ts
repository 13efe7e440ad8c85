import { SrdsError, wholeNumber } from '../errors.js';
import type { ScheduleConfig } from './config.js';

/**
 * The timesteps of a sample of `steps` steps, from noise to image, before any that Karras sigmas replace.
 * Source: set_timesteps of diffusers' schedulers. Those of Euler and Heun with linspace are not whole.
 *
 * One difference on purpose: for 62 values of `steps`, 961 among them, diffusers' trailing spacing has one entry more,
 * -1, which takes the noise level of the wrong end and wrecks the sample; entries below 0 are dropped here.
 * @throws SrdsError INVALID_OPTION if the schedule has no such timesteps
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
  // DPM-Solver spaces its steps' ends with one more, the last, which stands for the sample itself.
  const ends = scheduler === 'dpm' ? steps + 1 : steps;
  switch (timestepSpacing) {
    case 'leading': {
      const ratio = Math.floor(trainTimesteps / ends);
      return Array.from({ length: steps }, (_, i) => (ends - 1 - i) * ratio + stepsOffset);
    }
    case 'trailing': {
      // numpy.arange(T, 0, -T/N): its length is rounded up, each entry is start + i * (second - start).
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

/** numpy.round: halves go to the even neighbour. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}
