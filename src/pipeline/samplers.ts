import type { Residual, SampleResult, SamplerEvent } from '../run/events.js';
import { paradigms } from '../sampler/paradigms.js';
import { parataa } from '../sampler/parataa.js';
import { picard } from '../sampler/picard.js';
import type { Run } from '../run/run.js';
import { serial, type SerialOptions } from '../sampler/serial.js';
import { srds } from '../sampler/srds.js';
import type { Settings } from './options.js';

/** How far picard and parataa move a window that does not hold all steps. */
const SLIDE = 0.005;
/** A pass moves a sample by less than it still has to go: the change at which they stop is a part of SRDS's. */
const PART_OF_TOLERANCE = 0.2;

/** The change of an iteration, in grey levels, below which the sampler stops; paradigms does not stop by it. */
export function stopsBelow({ sampler, tolerance }: Settings): number {
  if (sampler === 'paradigms') return 0;
  return sampler === 'picard' || sampler === 'parataa' ? PART_OF_TOLERANCE * tolerance : tolerance;
}

/** What all samplers are given. */
export interface CommonOptions extends Required<SerialOptions> {
  readonly residual: Residual;
}

/** Starts the sampler that the settings name. */
export function startSampler(settings: Settings, common: CommonOptions): Run<SamplerEvent, SampleResult> {
  const { sampler, partition, correction, pipelined, maxIterations, window, history, order } = settings;
  const tolerance = stopsBelow(settings);
  const slide = tolerance > 0 && (window ?? Infinity) < common.steps.length ? SLIDE : 0;
  switch (sampler) {
    case 'auto':
    case 'serial':
      return serial(common);
    case 'srds':
      return srds({ ...common, partition, correction, pipelined, tolerance, maxIterations });
    case 'picard':
      return picard({ ...common, window, slide, tolerance, maxIterations });
    case 'paradigms':
      return paradigms({ ...common, window, slide: settings.tolerance, maxIterations });
    case 'parataa':
      return parataa({ ...common, window, slide, tolerance, maxIterations, history, order });
  }
}
