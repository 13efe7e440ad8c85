import { nonNegative, SrdsError, wholeNumber } from '../errors.js';
import { checkPartition, defaultBlocks, evenPartition, type Partition } from '../plan/partition.js';
import type { Correction } from '../sampler/corrections.js';
import { timesteps } from '../schedule/timesteps.js';
import type { ModelFolder } from './modelFolder.js';

/** Which sampler draws. */
export type SamplerName = 'serial' | 'srds';

export type { Correction };

/** What to draw, and how. */
export interface GenerateOptions {
  readonly prompt: string;
  /** What guidance leads away from; default: the empty prompt. */
  readonly negativePrompt?: string;
  /** Of the first image, the next has the next one; default 0. The same seed is the same noise as in diffusers. */
  readonly seed?: number | bigint;
  /** Images; default 1. */
  readonly n?: number;
  /** Steps of the fine grid; default 25. */
  readonly steps?: number;
  /** Guidance scale; default 5. At 1 or below the network is evaluated without the negative prompt, at half the cost. */
  readonly guidance?: number;
  /** In pixels; default: what the model was made for. */
  readonly width?: number;
  readonly height?: number;
  /** Default `srds`. */
  readonly sampler?: SamplerName;
  /** Default `secant`; `parareal` is the paper's. */
  readonly correction?: Correction;
  /** Default true; false is the paper's vanilla form. */
  readonly pipelined?: boolean;
  /** Number of even blocks, or the fine steps of each; default about 1.6 sqrt(steps). */
  readonly blocks?: number | Partition;
  /** Mean absolute change of the 8-bit image between iterations, in grey levels, below which to stop; default 0.5. 0: run until exact. */
  readonly tolerance?: number;
  /** Refinements after which to stop; default: until exact. */
  readonly maxIterations?: number;
  /** Whether to draw the serial sample too and measure the difference. */
  readonly compare?: boolean;
  readonly signal?: AbortSignal;
}

/** Options with every default filled in and everything checked. */
export interface Settings {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly seeds: readonly bigint[];
  readonly steps: number;
  readonly guidance: number;
  readonly width: number;
  readonly height: number;
  readonly sampler: SamplerName;
  readonly correction: Correction;
  readonly pipelined: boolean;
  readonly partition: Partition;
  readonly tolerance: number;
  readonly maxIterations: number | undefined;
  readonly compare: boolean;
}

const MAX_SIDE = 4096;
const MAX_IMAGES = 100;

/**
 * Checks options against a model and fills in what is not given.
 * @throws SrdsError INVALID_OPTION
 */
export function settingsOf(options: GenerateOptions, model: ModelFolder): Settings {
  const { length: steps } = timesteps(model.schedule, options.steps ?? 25);
  const { width = model.size.width, height = model.size.height, blocks } = options;
  checkSide('width', width, model);
  checkSide('height', height, model);
  const n = wholeNumber('a number of images', options.n ?? 1, 1, MAX_IMAGES);
  const { maxIterations, sampler = 'srds', correction = 'secant', prompt, negativePrompt = '' } = options;
  oneOf('a sampler', sampler, ['serial', 'srds']);
  oneOf('a correction', correction, ['secant', 'parareal']);
  for (const text of [prompt, negativePrompt] as unknown[]) {
    if (typeof text !== 'string') throw new SrdsError('INVALID_OPTION', 'text as prompt', typeof text, 'give a string');
  }
  if (maxIterations !== undefined) wholeNumber('a number of iterations', maxIterations, 1);
  const first = seedOf(options.seed ?? 0);
  return {
    prompt,
    negativePrompt,
    seeds: Array.from({ length: n }, (_, i) => seedInRange(first + BigInt(i))),
    steps,
    guidance: nonNegative('a guidance scale', options.guidance ?? 5),
    width,
    height,
    sampler,
    correction,
    pipelined: options.pipelined ?? true,
    partition:
      blocks === undefined || typeof blocks === 'number'
        ? evenPartition(steps, blocks ?? defaultBlocks(steps))
        : checkPartition(blocks, steps),
    tolerance: nonNegative('a tolerance in grey levels', options.tolerance ?? 0.5),
    maxIterations,
    compare: options.compare ?? false,
  };
}

function checkSide(name: string, side: number, { sizeStep }: ModelFolder): void {
  if (Number.isInteger(side) && side >= sizeStep && side <= MAX_SIDE && side % sizeStep === 0) return;
  const nearest = Math.min(MAX_SIDE, Math.max(sizeStep, Math.round(side / sizeStep) * sizeStep));
  throw new SrdsError(
    'INVALID_OPTION',
    `a ${name} in multiples of ${sizeStep} pixels, ${sizeStep} to ${MAX_SIDE}, for this model`,
    String(side),
    Number.isFinite(nearest) ? `try ${nearest}` : 'choose one of those',
  );
}

function oneOf(what: string, value: string, choices: readonly string[]): void {
  if (choices.includes(value)) return;
  throw new SrdsError('INVALID_OPTION', `${what}, ${choices.join(' or ')}`, value, 'choose one of those');
}

/** The seeds that torch.manual_seed takes. */
function seedInRange(seed: bigint): bigint {
  if (seed >= -(2n ** 63n) && seed < 2n ** 64n) return seed;
  throw new SrdsError('INVALID_OPTION', 'seeds from -2^63 to 2^64 - 1', String(seed), 'choose one in that range');
}

function seedOf(seed: number | bigint): bigint {
  if (typeof seed === 'bigint') return seed;
  if (Number.isSafeInteger(seed)) return BigInt(seed);
  throw new SrdsError('INVALID_OPTION', 'a whole number as seed', String(seed), 'give larger ones as a bigint');
}
