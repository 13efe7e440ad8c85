import { infotext, type Parameters } from '../image/infotext.js';
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
  const taken = { ...values, sampler, ...given, blocks: partition, seed: image.seed, size: { width, height } };
  const entries = infotextEntries(GENERATION_OPTIONS, taken, sampler);
  const afterSize = entries.findIndex(([label]) => label === 'Size') + 1;
  return infotext(prompt, negativePrompt ?? undefined, [
    ...entries.slice(0, afterSize),
    ['Model', model],
    ...(schedule.scheduler !== 'flow' && schedule.karras ? ([['Schedule type', 'Karras']] as const) : []),
    ...entries.slice(afterSize),
    ...outcome(image, sampler),
    ['Version', `srds ${version()}`],
  ]);
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
