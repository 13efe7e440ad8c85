import { z } from 'zod';
import { DEFAULT_HISTORY, MAX_HISTORY } from '../../sampler/parataa.js';
import { PREDICTIONS, SCHEDULE_TYPES, SPACINGS } from '../../schedule/config.js';
import { SOLVERS, type SolverName } from '../../solver/registry.js';
import { numbersUpTo } from './numbersUpTo.js';
import { integerFrom, option, type Options, type OptionValues } from './option.js';

export const SAMPLERS = ['serial', 'srds', 'picard', 'paradigms', 'parataa'] as const;
export type SamplerName = (typeof SAMPLERS)[number];

/** A sampler, or `auto`: the planner chooses the one that it expects to be the fastest on the devices. */
export const SAMPLER_CHOICES = ['auto', ...SAMPLERS] as const;

const ITERATIVE = ['srds', 'picard', 'paradigms', 'parataa'] as const;
const WINDOWED = ['picard', 'paradigms', 'parataa'] as const;

const MAX_IMAGES = 100;
/** Strength of image to image. */
export const DEFAULT_STRENGTH = 0.8;
/** Grey levels out of 255. On the bundled model at most one image of 1000 ends more than one away from that of the serial sampler. */
export const DEFAULT_TOLERANCE = 0.08;
/** With the last change of the image in place of the predicted one. */
export const CHANGE_TOLERANCE = 0.1;

/** What a sampler compares with its tolerance after an iteration. */
const STOPPING_RULES = ['look-ahead', 'change'] as const;
export type Stopping = (typeof STOPPING_RULES)[number];
/** paradigms compares states, not images: a share of the noise's standard deviation. */
export const PARADIGMS_TOLERANCE = 0.05;
/** The seeds that torch.manual_seed takes. */
const SEEDS = { min: -(2n ** 63n), max: 2n ** 64n - 1n };
/** As in web UIs: each generation has a random seed below 2^32. To torch it is the seed 2^64 - 1. */
export const RANDOM_SEED = -1n;
const SEED_ERROR = 'expected a whole number from 0 to 2^64 - 1, as text if it is larger than 2^53, or -1';
const BLOCKS_ERROR = 'expected a number of blocks, or a list of the steps of each';

/** The names that Stable Diffusion web UIs give to the solvers. */
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

/** The options of a generation, in the order in which help and PNG files show them. */
export const GENERATION_OPTIONS = {
  prompt: option(z.string(), {
    description: 'text that describes the image; may be empty',
    setting: false,
    required: true,
    control: {
      label: 'Prompt',
      kind: 'paragraph',
      wide: true,
      initial: 'a metal sphere and a small red torus on a wooden floor at night',
      help: 'What the image shows. Ctrl-Enter draws it.',
    },
  }),
  steps: option(z.int().min(1).max(1000), {
    group: 'common',
    description: 'steps of the fine grid',
    default: 25,
    defaultText: '25; 28 for SD3 and Flux, 4 for Flux schnell',
    infotext: { label: 'Steps' },
    control: {
      label: 'Steps',
      initial: 50,
      help: 'How many small steps lead from noise to the image. More steps give a finer image and take longer.',
    },
  }),
  solver: option(z.enum(SOLVERS), {
    description: 'solver of a step; dpm2m and pndm work with the serial sampler only',
    defaultText: "the model's own if it starts itself, else ddim",
    infotext: { label: 'Sampler', titles: SAMPLER_NAMES },
    control: {
      label: 'Solver',
      group: 'more',
      placeholder: "the model's",
      titles: SAMPLER_NAMES,
      help: 'The formula of one step, which other programs call the sampler. It changes the image. The sampler of this page changes only in which order the steps run.',
    },
  }),
  scheduleType: option(z.enum(SCHEDULE_TYPES), {
    description: 'spacing of the noise levels of euler, heun and the dpm solvers; karras: that of Karras et al. 2022',
    defaultText: "the model's",
    infotext: { label: 'Schedule type', titles: { uniform: 'Uniform', karras: 'Karras' } },
    control: {
      label: 'Schedule',
      group: 'more',
      placeholder: "the model's",
      titles: { uniform: 'Uniform', karras: 'Karras' },
      help: 'How the steps are spread over the noise. Karras takes smaller steps towards the end.',
    },
  }),
  guidance: option(z.number().min(0), {
    group: 'image',
    description:
      'guidance scale; at 1 or below the negative prompt is not evaluated, which halves the cost. An input of the network for Flux',
    default: 5,
    defaultText: '5; 7 for SD3, 3.5 for Flux',
    infotext: { label: 'CFG scale' },
    control: {
      label: 'Guidance',
      help: 'How closely the image follows the prompt. At 1 or below the negative prompt has no effect, and a step takes half the work.',
    },
  }),
  seed: option(
    z.union([z.int(), z.bigint().min(SEEDS.min).max(SEEDS.max)], {
      error: 'expected a whole number from -2^63 to 2^64 - 1',
    }),
    {
      group: 'common',
      description:
        'seed of the first image, with the noise that diffusers has for it; the next image has the next seed; -1: a random one',
      default: 0,
      placeholder: '<n>',
      expected: 'a whole number from -2^63 to 2^64 - 1',
      read: (text) => (/^-?\d{1,40}$/.test(text) ? BigInt(text) : text),
      body: () =>
        z
          .union([z.int().min(-1).max(Number.MAX_SAFE_INTEGER), z.string().regex(/^(-1|\d{1,20})$/, SEED_ERROR)], {
            error: SEED_ERROR,
          })
          .transform((seed) => BigInt(seed))
          .refine((seed) => seed <= SEEDS.max, SEED_ERROR),
      infotext: { label: 'Seed' },
      control: {
        label: 'Seed',
        initial: '',
        placeholder: 'random',
        pattern: numbersUpTo(SEEDS.max),
        patternError: `A seed is a whole number from 0 to ${SEEDS.max}. Leave it empty for a random one.`,
        help: 'The number that the noise is made from. The same seed and settings give the same image.',
      },
    },
  ),
  size: option(z.object({ width: z.number(), height: z.number() }), {
    group: 'common',
    description: 'width and height in pixels',
    defaultText: "the initial image's, or the model's",
    placeholder: '<WxH>',
    expected: 'WIDTHxHEIGHT in pixels, such as 128x128,',
    read: sizeFrom,
    body: () =>
      z
        .string()
        .regex(/^(auto|\d{1,9}x\d{1,9})$/, 'expected auto or WIDTHxHEIGHT')
        .transform((text) => (text === 'auto' ? undefined : sizeFrom(text))),
    infotext: { label: 'Size', write: ({ width, height }) => `${width}x${height}` },
    control: {
      label: 'Size',
      kind: 'size',
      initial: 'auto',
      help: 'Width and height in pixels. Models draw best at their own size.',
    },
  }),
  n: option(z.int().min(1).max(MAX_IMAGES), {
    group: 'common',
    description: 'number of images',
    default: 1,
    control: { label: 'Images', help: 'How many images to draw. Each has the next seed.' },
  }),
  negativePrompt: option(z.string(), {
    group: 'common',
    description: 'text that guidance leads away from',
    defaultText: 'empty; no prompt at all for most SDXL models',
    placeholder: '<text>',
    control: {
      label: 'Negative prompt',
      wide: true,
      initial: '',
      placeholder: 'what the image should not show',
      help: 'What guidance leads away from.',
    },
  }),
  trueGuidance: option(z.number().min(0), {
    group: 'image',
    description:
      'scale of classifier-free guidance for models that take the guidance scale as an input; above 1 it doubles the cost',
    default: 1,
    infotext: { label: 'True CFG scale', omitDefault: true },
  }),
  prompt2: option(z.string(), {
    group: 'image',
    description: 'prompt for the second text encoder',
    defaultText: 'the prompt',
    placeholder: '<text>',
    infotext: { label: 'Prompt 2' },
  }),
  prompt3: option(z.string(), {
    group: 'image',
    description: 'prompt for the third text encoder',
    defaultText: 'the prompt',
    placeholder: '<text>',
    infotext: { label: 'Prompt 3' },
  }),
  maxSequenceLength: option(z.int().min(1).max(512), {
    group: 'image',
    description: 'tokens of T5, the last text encoder of SD3 and Flux; longer prompts are cut',
    defaultText: '256; 512 for Flux dev',
    placeholder: '<n>',
    infotext: { label: 'Max sequence length' },
  }),
  eta: option(z.number().min(0).max(1), {
    description: 'noise that ddim adds, as a share of the noise of ddpm',
    default: 0,
    infotext: { label: 'Eta', omitDefault: true },
  }),
  strength: option(z.number().min(0).max(1), {
    group: 'image',
    description: 'share of the steps that are taken from an initial image on',
    defaultText: String(DEFAULT_STRENGTH),
    body: () => z.number().positive().max(1),
    infotext: { label: 'Denoising strength' },
    control: {
      label: 'Change',
      group: 'image',
      initial: DEFAULT_STRENGTH,
      help: 'How much of the initial image changes: little at 0.3, everything at 1.',
    },
  }),
  guidanceRescale: option(z.number().min(0).max(1), {
    group: 'image',
    description: 'share by which guidance is scaled back to the deviation of the prediction (Lin et al. 2023, 3.4)',
    default: 0,
    infotext: { label: 'Guidance rescale', omitDefault: true },
  }),
  spacing: option(z.enum(SPACINGS), {
    description: 'spacing of the timesteps',
    defaultText: "the model's",
    infotext: { label: 'Spacing' },
  }),
  prediction: option(z.enum(PREDICTIONS), {
    description: 'quantity that the network predicts',
    defaultText: "the model's",
    infotext: { label: 'Prediction' },
  }),
  sampler: option(z.enum(SAMPLER_CHOICES), {
    group: 'common',
    description: 'sampler; auto takes the one that the planner expects to be the fastest on the devices',
    defaultText: 'auto; srds if one of its own options is given',
    infotext: { label: 'Parallel sampler' },
    control: {
      label: 'Sampler',
      initial: 'auto',
      help: 'In which order the steps run: one after the other (serial), or many at once, refined until the image is the serial one. Auto measures this machine and takes what is fastest here.',
      titles: {
        auto: 'Auto (fastest)',
        serial: 'Serial',
        srds: 'SRDS',
        picard: 'Picard',
        paradigms: 'ParaDiGMS',
        parataa: 'ParaTAA',
      },
    },
  }),
  correction: option(z.enum(['secant', 'parareal']), {
    description: 'correction of SRDS; parareal is the one of the paper',
    default: 'secant',
    samplers: ['srds'],
    infotext: { label: 'SRDS correction' },
  }),
  pipelined: option(z.boolean(), {
    description: "overlap the iterations of SRDS; false is the paper's vanilla form",
    offDescription: "finish each iteration of SRDS before the next, the paper's vanilla form",
    default: true,
    samplers: ['srds'],
    infotext: { label: 'SRDS pipelined' },
  }),
  blocks: option(z.union([z.int().min(1), z.array(z.int().min(1)).min(1).readonly()]), {
    description: 'number of even blocks of SRDS, or the fine steps of each as a,b,c',
    defaultText: '1.3 sqrt(steps) + 4, at most steps / 2.2 rounded up, shorter ones first',
    placeholder: '<n>',
    expected: 'a number of blocks, or the steps of each as a,b,c,',
    read: (text) => (text.includes(',') ? text.split(',').map(integerFrom) : integerFrom(text)),
    body: (limit = Infinity) =>
      z.union([z.int().min(1).max(limit), z.array(z.int().min(1)).min(1).max(limit)], { error: BLOCKS_ERROR }),
    samplers: ['srds'],
    infotext: {
      label: 'SRDS blocks',
      write: (blocks) => (typeof blocks === 'number' ? String(blocks) : blocks.join(' ')),
      read: (text) => text.split(' ').map(integerFrom),
    },
    control: {
      label: 'Blocks',
      kind: 'numbers',
      group: 'more',
      placeholder: 'default',
      help: 'How many parts SRDS cuts the steps into, such as 8, or the steps of each, such as 3 5 8 9. Parts run at the same time.',
      pattern: '\\d+([ ,]+\\d+)*',
      patternError: 'Blocks are one whole number, such as 8, or several, such as 3 5 8 9.',
      sumsTo: 'steps',
    },
  }),
  window: option(z.int().min(1), {
    description: 'steps that picard, paradigms and parataa work on at a time',
    defaultText: 'all',
    samplers: WINDOWED,
    infotext: { label: 'Window' },
    control: {
      label: 'Window',
      group: 'more',
      placeholder: 'all steps',
      help: 'How many steps Picard, ParaDiGMS and ParaTAA work on at a time, such as 16.',
      pattern: '[1-9]\\d{0,3}',
    },
  }),
  tolerance: option(z.number().min(0), {
    description:
      'change in grey levels below which to stop; 0: run until exact; of paradigms: the change of a state, in deviations of the noise, below which the window moves on',
    defaultText: `${DEFAULT_TOLERANCE}; ${CHANGE_TOLERANCE} with the stopping rule change; ${PARADIGMS_TOLERANCE} for paradigms`,
    placeholder: '<t>',
    samplers: ITERATIVE,
    infotext: { label: 'Tolerance', labelFor: { srds: 'SRDS tolerance' } },
    control: {
      label: 'Tolerance',
      initial: DEFAULT_TOLERANCE,
      help: 'When a parallel sampler stops: once the image would change by less than this, in grey levels out of 255. At 0 it runs until the image is exactly the serial one.',
      samplers: ['auto', 'srds', 'picard', 'parataa'],
    },
  }),
  stopping: option(z.enum(STOPPING_RULES), {
    description:
      "change that the tolerance bounds: look-ahead, that of the image in the next iterations, predicted (picard, parataa: largest change of a state in the last pass, below 0.75 of the tolerance); change, that of the decoded image in the last iteration, the paper's rule (picard, parataa: below 0.3 of the tolerance)",
    default: 'look-ahead',
    samplers: ['srds', 'picard', 'parataa'],
    infotext: { label: 'Stopping', omitDefault: true },
  }),
  maxIterations: option(z.int().min(1), {
    description: 'iterations after which to stop',
    defaultText: 'until exact',
    samplers: ITERATIVE,
  }),
  history: option(z.int().min(1).max(MAX_HISTORY), {
    description: 'passes that parataa mixes',
    defaultText: String(DEFAULT_HISTORY),
    samplers: ['parataa'],
  }),
  order: option(z.int().min(1), {
    description: 'steps over which parataa computes a state from an earlier one',
    defaultText: 'all',
    samplers: ['parataa'],
  }),
  compare: option(z.boolean(), {
    group: 'output',
    description: 'generate the serial sample too and measure the difference',
    default: false,
    http: false,
  }),
  previews: option(z.boolean(), {
    description: 'decode the image of every iteration for its event',
    default: true,
    setting: false,
    http: false,
  }),
} satisfies Options;

export type GenerationValues = OptionValues<typeof GENERATION_OPTIONS>;

function sizeFrom(text: string): { width: number; height: number } | string {
  const match = /^(\d{1,6})x(\d{1,6})$/i.exec(text);
  return match ? { width: Number(match[1]), height: Number(match[2]) } : text;
}

/** Values with the size as the library has it. */
export function withSides<Values extends Pick<GenerationValues, 'size'>>({
  size,
  ...others
}: Values): Omit<Values, 'size'> & { readonly width?: number; readonly height?: number } {
  return { ...others, ...size };
}
