import { paradigms } from '../sampler/paradigms.js';
import { parataa } from '../sampler/parataa.js';
import { picard } from '../sampler/picard.js';
import type { Sampler } from '../sampler/sampler.js';
import { serial, type SerialOptions } from '../sampler/serial.js';
import { srds } from '../sampler/srds.js';
import type { Settings } from './options.js';

/** Tolerance of the window of picard and parataa if it does not hold all steps. */
const WINDOW_TOLERANCE = 0.005;
/** A pass of picard or parataa moves the sample by less than its distance to the fixed point, so they stop at a smaller change. */
const SHARE_OF_TOLERANCE = 0.3;

/** The residual, in grey levels, below which a sampler stops; 0 for paradigms, which stops by its window. */
export function residualTolerance({ sampler, tolerance }: Settings): number {
  if (sampler === 'paradigms') return 0;
  return sampler === 'picard' || sampler === 'parataa' ? SHARE_OF_TOLERANCE * tolerance : tolerance;
}

/** The sampler that the settings name. */
export function samplerOf(settings: Settings, start: SerialOptions): Sampler {
  const { sampler, partition, correction, pipelined, maxIterations, window, history, order } = settings;
  const isPartial = (window ?? Infinity) < start.steps.length;
  const windowTolerance = residualTolerance(settings) > 0 && isPartial ? WINDOW_TOLERANCE : 0;
  switch (sampler) {
    case 'auto':
    case 'serial':
      return serial(start);
    case 'srds':
      return srds({ ...start, partition, correction, pipelined, maxIterations });
    case 'picard':
      return picard({ ...start, window, windowTolerance, maxIterations });
    case 'paradigms':
      return paradigms({ ...start, window, windowTolerance: settings.tolerance, maxIterations });
    case 'parataa':
      return parataa({ ...start, window, windowTolerance, maxIterations, history, order });
  }
}
