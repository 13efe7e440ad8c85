import { infotext, type Parameters } from '../image/infotext.js';
import { sigmaScheduler, type ScheduleType } from '../schedule/config.js';
import type { Schedule } from '../schedule/schedule.js';
import { version } from '../version.js';
import { GENERATION_OPTIONS } from './options/generation.js';
import { infotextEntries } from './options/infotext.js';
import type { Settings } from './options.js';
import type { GeneratedImage } from './result.js';

/**
 * The parameters of an image as Stable Diffusion web UIs read them from a PNG's `parameters` text.
 * @param model name of the model
 */
export function pngParameters(image: GeneratedImage, settings: Settings, model: string): string {
  const { prompt, negativePrompt, width, height, sampler, partition, given, schedule, ...values } = settings;
  const scheduleType = karrasOr(given.scheduleType, schedule);
  const taken = {
    ...values,
    sampler,
    ...given,
    scheduleType,
    blocks: partition,
    seed: image.seed,
    size: { width, height },
  };
  const entries = infotextEntries(GENERATION_OPTIONS, taken, sampler);
  const afterSize = entries.findIndex(([label]) => label === 'Size') + 1;
  return infotext(prompt, negativePrompt ?? undefined, [
    ...entries.slice(0, afterSize),
    ['Model', model],
    ...entries.slice(afterSize),
    ...outcome(image, sampler),
    ['Version', `srds ${version()}`],
  ]);
}

/** The schedule type where the solver has one: Karras', also if it is the model's own, or the one that was given. */
function karrasOr(given: ScheduleType | undefined, schedule: Schedule): ScheduleType | undefined {
  if (schedule.scheduler === 'flow' || !sigmaScheduler(schedule.scheduler)) return undefined;
  return schedule.karras ? 'karras' : given;
}

function outcome({ status, iterations }: GeneratedImage, sampler: Settings['sampler']): Parameters {
  if (sampler === 'serial') return [];
  if (sampler === 'srds') {
    return [
      ['SRDS status', status],
      ['SRDS iterations', iterations],
    ];
  }
  return [
    ['Status', status],
    ['Iterations', iterations],
  ];
}
