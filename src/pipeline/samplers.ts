import { paradigms } from '../sampler/paradigms.js';
import { parataa } from '../sampler/parataa.js';
import { picard } from '../sampler/picard.js';
import type { Sampler } from '../sampler/sampler.js';
import { serial, type SerialOptions } from '../sampler/serial.js';
import { srds } from '../sampler/srds.js';
import type { Settings } from './options.js';

/** Tolerance of the window of picard and parataa if it does not hold all steps. */
const WINDOW_TOLERANCE = 0.005;
/**
 * Changes of picard and parataa, as shares of what they are taken to leave. A pass moves a sample by less than its distance to the fixed point, and a sample
 * that bifurcates may rest for some passes: one of 770 images (N = 50) moved by 0.082 grey levels in a pass, and by 3.8 six passes later.
 */
const SHARES: Readonly<Record<Settings['stopping'], number>> = {
  /** Of the largest change of a state. */
  'look-ahead': 0.75,
  /** Of the change of the image. */
  change: 0.3,
};

/**
 * Root mean square of the latents up to which a change may be rounding to 11 bits. After many iterations on the bundled model with guidance
 * 9, 0.006 is left of the changes of the sample, and up to 0.009 of those before it.
 */
const COARSE_ROUNDING = 0.01;

/**
 * Grey levels of what rounding to 11 bits leaves of the changes of passes, for a guidance scale of 1: on the bundled model 0.026 with
 * guidance 5 and 0.050 with guidance 9, at N = 25, and less with more steps.
 */
const PASS_ROUNDING = 0.0041;

/** The share that a change in the last iteration is of the residual: less than 1 for picard and parataa, whose passes move a sample by a part of the way. */
export function shareOfResidual({ sampler, stopping }: Pick<Settings, 'sampler' | 'stopping'>): number {
  return sampler === 'picard' || sampler === 'parataa' ? SHARES[stopping] : 1;
}

/**
 * The residual, in grey levels, below which a sampler stops; 0 for paradigms, which stops by its window.
 * @param roundsCoarsely whether the network rounds as in half precision
 */
export function residualTolerance(
  { sampler, tolerance, stopping, cfgScale }: Pick<Settings, 'sampler' | 'tolerance' | 'stopping' | 'cfgScale'>,
  roundsCoarsely: boolean,
): number {
  if (sampler === 'paradigms' || tolerance === 0) return 0;
  if (sampler !== 'picard' && sampler !== 'parataa') return tolerance;
  // Independent errors of the unconditional and the conditional output, with the weights 1 - g and g.
  const amplification = Math.hypot(cfgScale, cfgScale - 1);
  const rounding = roundsCoarsely ? PASS_ROUNDING * amplification : 0;
  return Math.hypot(tolerance, rounding / shareOfResidual({ sampler, stopping }));
}

/**
 * The sampler that the settings name.
 * @param roundsCoarsely whether the network rounds as in half precision
 * @param share of the latents that changes, 0 to 1
 */
export function samplerOf(settings: Settings, start: SerialOptions, roundsCoarsely: boolean, share: number): Sampler {
  const { sampler, tolerance, partition, correction, pipelined, maxIterations, window, history, order } = settings;
  const isPartial = (window ?? Infinity) < start.steps.length;
  // Of a root mean square over all latents.
  const scale = Math.sqrt(share);
  const windowTolerance = tolerance > 0 && isPartial ? WINDOW_TOLERANCE * scale : 0;
  const roundingLimit = roundsCoarsely ? COARSE_ROUNDING * scale : 0;
  switch (sampler) {
    case 'auto':
    case 'serial':
      return serial(start);
    case 'srds':
      return srds({ ...start, partition, correction, pipelined, maxIterations, roundingLimit });
    case 'picard':
      return picard({ ...start, window, windowTolerance, maxIterations });
    case 'paradigms':
      return paradigms({ ...start, window, windowTolerance: tolerance * scale, maxIterations });
    case 'parataa':
      return parataa({ ...start, window, windowTolerance, maxIterations, history, order });
  }
}
