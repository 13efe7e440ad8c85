import { SrdsError, wholeNumber } from '../errors.js';
import type { ScheduleConfig } from './config.js';

/**
 * The timesteps of a sample of `steps` steps, from noise to image. Source: diffusers DDIMScheduler.set_timesteps.
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

function spaced({ timestepSpacing, trainTimesteps, stepsOffset }: ScheduleConfig, steps: number): number[] {
  switch (timestepSpacing) {
    case 'leading': {
      const ratio = Math.floor(trainTimesteps / steps);
      return Array.from({ length: steps }, (_, i) => (steps - 1 - i) * ratio + stepsOffset);
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
      if (steps === 1) return [0];
      const step = (trainTimesteps - 1) / (steps - 1);
      return Array.from({ length: steps }, (_, i) =>
        i === 0 ? trainTimesteps - 1 : roundHalfEven((steps - 1 - i) * step),
      );
    }
  }
}

/** numpy.round: halves go to the even neighbour. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}
