import { SrdsError, wholeNumber } from '../errors.js';
import { alphasCumprod } from './betas.js';
import { sigmaScheduler, type ScheduleConfig } from './config.js';

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
  return spacedTimesteps(config, steps).filter((t) => t >= 0);
}

/** As `timesteps`, with the entry -1 that diffusers has for some numbers of steps. */
export function spacedTimesteps(config: ScheduleConfig, steps: number): number[] {
  wholeNumber('a number of steps', steps, 1, config.trainTimesteps);
  return spaced(config, steps);
}

/**
 * Checks that the training has the timesteps that are read. Euler, Heun and DPM-Solver take the noise of the last one for those
 * after it, as diffusers does; the others have none.
 * @throws SrdsError INVALID_OPTION
 */
export function checkTimestep(
  { scheduler, trainTimesteps, stepsOffset }: ScheduleConfig,
  t: number,
  steps: number,
): void {
  if (t < trainTimesteps || sigmaScheduler(scheduler)) return;
  throw new SrdsError(
    'INVALID_OPTION',
    `timesteps below ${trainTimesteps}`,
    `${t} with ${steps} steps, leading spacing and offset ${stepsOffset}`,
    'choose fewer steps',
  );
}

function spaced(config: ScheduleConfig, steps: number): number[] {
  const { timestepSpacing, trainTimesteps, stepsOffset, scheduler } = config;
  // DPM-Solver spaces one more point, the last, which stands for the sample itself.
  const ends = scheduler === 'dpm' ? steps + 1 : steps;
  const last = lastTimestep(config);
  switch (timestepSpacing) {
    case 'leading': {
      const ratio = Math.floor(last / ends);
      return Array.from({ length: steps }, (_, i) => (ends - 1 - i) * ratio + stepsOffset);
    }
    case 'trailing': {
      // numpy.arange(T, 0, -T/N) rounds its length up and computes each entry as start + i * (second - start).
      const ratio = trainTimesteps / steps;
      const delta = last - ratio - last;
      return Array.from({ length: Math.ceil(last / ratio) }, (_, i) => roundHalfEven(last + i * delta) - 1);
    }
    case 'linspace': {
      if (ends === 1) return [0];
      const step = (last - 1) / (ends - 1);
      const round = scheduler === 'euler' || scheduler === 'heun' ? Math.fround : roundHalfEven;
      return Array.from({ length: steps }, (_, i) => (i === 0 ? last - 1 : round((ends - 1 - i) * step)));
    }
  }
}

/** The number of timesteps from which DPM-Solver takes those of a sample. Source: DPMSolverMultistepScheduler.set_timesteps. */
function lastTimestep(config: ScheduleConfig): number {
  const { scheduler, trainTimesteps, lambdaMin } = config;
  if (scheduler !== 'dpm' || lambdaMin === -Infinity) return trainTimesteps;
  const { log, sqrt, fround } = Math;
  const lambda = (alphaBar: number) =>
    fround(fround(log(fround(sqrt(alphaBar)))) - fround(log(fround(sqrt(fround(1 - alphaBar))))));
  const lambdas = alphasCumprod(config).map(lambda).reverse();
  return trainTimesteps - lowerBound(lambdas, lambdaMin);
}

/**
 * The first index of an entry that is not below a value, found as torch.searchsorted finds it: the entries need not be sorted. With
 * zero terminal SNR the last lambda of the training can be above those before it.
 */
function lowerBound(sorted: Float32Array, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (sorted[middle] >= value) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** numpy.round, which rounds halves to even. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}
