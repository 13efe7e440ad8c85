import type { Settings, SolverName } from './options.js';
import { infotext, type Parameters } from '../image/infotext.js';
import type { GeneratedImage } from './result.js';
import { version } from '../version.js';

/** The parameters of an image as Stable Diffusion web UIs read them from a PNG's `parameters` text. */
export function pngParameters(image: GeneratedImage, settings: Settings, model: string): string {
  const { prompt, negativePrompt, steps, guidance, width, height, sampler } = settings;
  const run: Parameters = [
    ['Tolerance', settings.tolerance],
    ['Status', image.status],
    ['Iterations', image.iterations],
  ];
  const window: Parameters = settings.window === undefined ? [] : [['Window', settings.window]];
  const own: Parameters =
    sampler === 'serial'
      ? []
      : sampler === 'srds'
        ? [
            ['SRDS correction', settings.correction],
            ['SRDS pipelined', settings.pipelined],
            ['SRDS blocks', settings.partition.join(' ')],
            ...run.map(([name, value]) => [`SRDS ${name.toLowerCase()}`, value] as const),
          ]
        : [...window, ...run];
  const { solver, eta, schedule, guidanceRescale, strength, given } = settings;
  const more: Parameters = [
    ...(schedule.karras ? ([['Schedule type', 'Karras']] as const) : []),
    ...(eta > 0 ? ([['Eta', eta]] as const) : []),
    ...(strength === undefined ? [] : ([['Denoising strength', strength]] as const)),
    ...(guidanceRescale > 0 ? ([['Guidance rescale', guidanceRescale]] as const) : []),
    ...(given.spacing ? ([['Spacing', given.spacing]] as const) : []),
    ...(given.prediction ? ([['Prediction', given.prediction]] as const) : []),
  ];
  return infotext(prompt, negativePrompt ?? undefined, [
    ['Steps', steps],
    ['Sampler', SAMPLER_NAMES[solver]],
    ['CFG scale', guidance],
    ['Seed', String(image.seed)],
    ['Size', `${width}x${height}`],
    ['Model', model],
    ...more,
    ['Parallel sampler', sampler],
    ...own,
    ['Version', `srds ${version()}`],
  ]);
}

/** What Stable Diffusion web UIs call the solvers. */
export const SAMPLER_NAMES: Readonly<Record<SolverName, string>> = {
  ddim: 'DDIM',
  ddpm: 'DDPM',
  euler: 'Euler',
  heun: 'Heun',
  dpm1: 'DPM++ 1S',
  dpm2s: 'DPM++ 2S',
  dpm2m: 'DPM++ 2M',
  pndm: 'PLMS',
};
