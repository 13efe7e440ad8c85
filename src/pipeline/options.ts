import { randomInt } from 'node:crypto';
import { SrdsError, wholeNumber } from '../errors.js';
import type { RgbImage } from '../image/image.js';
import { isMask, type MaskImage } from '../image/mask.js';
import type { ImageSize } from '../model/family.js';
import { fixedSizeFor, type FixedSize } from '../model/fixedShapes.js';
import { imageTokens, latentDims, type ModelFolder } from '../model/modelFolder.js';
import type { Correction } from '../sampler/corrections.js';
import { checkPartition, defaultPartition, evenPartition, type Partition } from '../sampler/partition.js';
import type { SolverStep } from '../schedule/grid.js';
import { stepsOf, type Schedule } from '../schedule/schedule.js';
import { solverOf, type SolverName } from '../solver/registry.js';
import { oneEvaluationSolver, oneStepSolver, serialEvaluations, type AnySolver } from '../solver/solver.js';
import { allFinite } from '../tensor/operations.js';
import type { Tensor } from '../tensor/tensor.js';
import type { CurrentImages } from './currentImages.js';
import { ignoredByChoice, ignoredOptions, requestsRefinement } from './options/effects.js';
import {
  DEFAULT_STRENGTH,
  CHANGE_TOLERANCE,
  DEFAULT_TOLERANCE,
  GENERATION_OPTIONS,
  PARADIGMS_TOLERANCE,
  RANDOM_SEED,
  type GenerationValues,
  type SamplerName,
  type Stopping,
} from './options/generation.js';
import { withoutEffectOn } from './options/modelEffects.js';
import { checkedValue, checkLibraryValues, without } from './options/option.js';

/**
 * What to generate, and how. `GENERATION_OPTIONS` describes each option, with its bounds and default; the default sampler
 * is srds. An option that has no effect on the sampler causes a warning among the events.
 */
export interface GenerateOptions extends Omit<GenerationValues, 'prompt' | 'size'> {
  readonly prompt: string;
  /** Width of the image in pixels; default: that of `init` rounded down to what the model supports, or the model's. */
  readonly width?: number | undefined;
  /** Height of the image in pixels; default: as of `width`. */
  readonly height?: number | undefined;
  /** The initial noise, [n, channels, height / factor, width / factor]; default: generated from the seeds. */
  readonly noise?: Tensor | undefined;
  /** An image to start from, resized to the size of the result. */
  readonly init?: RgbImage | undefined;
  /**
   * The part of `init` to repaint, white from 128 grey levels on, in colour or grey, resized to the size of the result. The rest stays,
   * as far as the VAE keeps it.
   */
  readonly mask?: MaskImage | undefined;
  /** Receives the images so far. With the serial sampler they are still noisy. */
  readonly current?: CurrentImages | undefined;
  /** Aborts the generation. */
  readonly signal?: AbortSignal | undefined;
  /** What warnings call an option, such as its flag; default: its name. */
  readonly nameOf?: ((option: string) => string) | undefined;
}

const LIBRARY_OPTIONS = without(GENERATION_OPTIONS, 'size');
/** Options that have no description of their own. */
const OTHER_OPTIONS: Readonly<Record<Exclude<keyof GenerateOptions, keyof typeof LIBRARY_OPTIONS>, true>> = {
  width: true,
  height: true,
  noise: true,
  init: true,
  mask: true,
  current: true,
  signal: true,
  nameOf: true,
};

/** Options, checked, with every default filled in. */
export interface Settings {
  readonly prompt: string;
  /** Prompts for the second and third text encoder; undefined: the same. */
  readonly prompt2: string | undefined;
  readonly prompt3: string | undefined;
  /** Number of tokens of T5; undefined for models without it. */
  readonly sequenceLength: number | undefined;
  /** null: no prompt; zeros take the place of its embedding. */
  readonly negativePrompt: string | null;
  readonly seeds: readonly bigint[];
  /** The steps of the whole grid; with `init` only the last `grid.length` of them are taken. */
  readonly steps: number;
  readonly solver: SolverName;
  /** The solver of that name. */
  readonly method: AnySolver;
  readonly eta: number;
  readonly schedule: Schedule;
  /** The options of the schedule that were given. */
  readonly given: Pick<GenerateOptions, 'spacing' | 'prediction' | 'scheduleType'>;
  /** The fine grid: the steps that are taken. */
  readonly grid: readonly SolverStep[];
  /** Evaluations of the serial sampler on this grid. */
  readonly serialEvaluations: number;
  readonly guidance: number;
  readonly trueGuidance: number;
  /** Scale of classifier-free guidance, `guidance` or `trueGuidance`; 1: an evaluation has one row. */
  readonly cfgScale: number;
  readonly guidanceRescale: number;
  readonly noise: Float32Array | undefined;
  readonly init: RgbImage | undefined;
  readonly mask: MaskImage | undefined;
  readonly strength: number | undefined;
  readonly width: number;
  readonly height: number;
  /** `auto` until the planner has chosen. */
  readonly sampler: SamplerName | 'auto';
  readonly correction: Correction;
  readonly pipelined: boolean;
  readonly partition: Partition;
  readonly partitionGiven: boolean;
  /** Whether an option of SRDS was given, or one that other samplers count differently. */
  readonly srdsGiven: boolean;
  /** A warning about the given options that have no effect. */
  readonly ignoredOptions: string | undefined;
  /** The same about those that have none on a sampler that `auto` chooses. */
  readonly ignoredByChoice: Readonly<Partial<Record<SamplerName, string>>>;
  /** What warnings call an option. */
  readonly nameOf: (option: string) => string;
  readonly tolerance: number;
  readonly stopping: Stopping;
  readonly window: number | undefined;
  readonly history: number | undefined;
  readonly order: number | undefined;
  readonly maxIterations: number | undefined;
  readonly compare: boolean;
  readonly previews: boolean;
  readonly current: CurrentImages | undefined;
}

const MAX_SIDE = 4096;

/**
 * Checks options against a model and fills in the defaults.
 * @throws SrdsError INVALID_OPTION; MODEL_INVALID if the scheduler's file does not support the solver; MODEL_NOT_FOUND if
 *   there is an initial image and the model has no VAE encoder
 */
export function settingsOf(options: GenerateOptions, model: ModelFolder): Settings {
  checkValues(options);
  checkImages(options);
  const { n: nOption, guidanceRescale, correction, pipelined } = GENERATION_OPTIONS;
  const { maxIterations, sampler = 'srds', prompt, prompt2, prompt3, negativePrompt, init, mask, blocks } = options;
  const { nameOf = (option: string) => option } = options;
  const size = sizeOf(options, model);
  const { solver, eta, schedule } = scheduleOf(options, size, model);
  const steps = options.steps ?? defaultsFor(model).steps;
  const strength = strengthOf(options, model);
  const grid = stepsOf(schedule, steps, strength === undefined ? 0 : model.family.firstStep(steps, strength));
  if (strength !== undefined && grid.length === 0) throw noStepLeft(steps, strength);
  const method = solverOf(solver, { schedule, steps, eta });
  if (sampler !== 'serial' && sampler !== 'auto') oneStepSolver(method);
  if (sampler === 'picard' || sampler === 'paradigms' || sampler === 'parataa') oneEvaluationSolver(method);

  const scales = scalesOf(options, model);
  const stopping = options.stopping ?? GENERATION_OPTIONS.stopping.default;
  const n = options.n ?? nOption.default;
  const first = firstSeed(options);
  return {
    prompt,
    prompt2,
    prompt3,
    sequenceLength: sequenceLengthOf(options, model),
    negativePrompt: negativePrompt ?? (model.zerosForNoNegative ? null : ''),
    seeds: Array.from({ length: n }, (_, i) => seedInRange(first + BigInt(i))),
    steps,
    solver,
    method,
    eta,
    schedule,
    given: { spacing: options.spacing, prediction: options.prediction, scheduleType: options.scheduleType },
    grid,
    serialEvaluations: serialEvaluations(method, grid),
    ...scales,
    guidanceRescale: options.guidanceRescale ?? guidanceRescale.default,
    noise: noiseOf(options.noise, n, size, model),
    init,
    mask,
    strength,
    ...size,
    sampler,
    correction: options.correction ?? correction.default,
    pipelined: options.pipelined ?? pipelined.default,
    partition: partitionFor(blocks, grid.length),
    partitionGiven: blocks !== undefined,
    srdsGiven: SRDS_OPTIONS.some((name) => options[name] !== undefined),
    ignoredOptions: joined([
      ...ignoredOptions(options, sampler, nameOf),
      ...withoutEffectOn(model, options, { ...scales, solver }, nameOf),
    ]),
    ignoredByChoice: sampler === 'auto' ? ignoredByChoice(options, nameOf) : {},
    nameOf,
    tolerance: options.tolerance ?? defaultTolerance(sampler, stopping),
    stopping,
    window: options.window,
    history: options.history,
    order: options.order,
    maxIterations,
    compare: options.compare ?? GENERATION_OPTIONS.compare.default,
    previews: options.previews ?? GENERATION_OPTIONS.previews.default,
    current: options.current,
  };
}

/** Steps and guidance scale of a generation that gives none. */
export function defaultsFor({ defaults }: Pick<ModelFolder, 'defaults'>): {
  readonly steps: number;
  readonly guidance: number;
} {
  const { steps, guidance } = GENERATION_OPTIONS;
  return { steps: defaults.steps ?? steps.default, guidance: defaults.guidance ?? guidance.default };
}

function scalesOf(
  options: GenerateOptions,
  model: ModelFolder,
): Pick<Settings, 'guidance' | 'trueGuidance' | 'cfgScale'> {
  const guidance = options.guidance ?? defaultsFor(model).guidance;
  const trueGuidance = options.trueGuidance ?? GENERATION_OPTIONS.trueGuidance.default;
  if (model.family.guidanceOption === 'guidance') return { guidance, trueGuidance, cfgScale: Math.max(1, guidance) };
  const cfgScale = options.negativePrompt === undefined ? 1 : Math.max(1, trueGuidance);
  return { guidance, trueGuidance, cfgScale };
}

function sequenceLengthOf({ maxSequenceLength }: GenerateOptions, { sequenceLength }: ModelFolder): number | undefined {
  if (sequenceLength === undefined) return undefined;
  const { default: usual, min = 1, max } = sequenceLength;
  if (min === max && (maxSequenceLength ?? usual) !== max) {
    const expected = `${max} tokens of T5 (maxSequenceLength), which the graphs of this model fix`;
    throw new SrdsError('INVALID_OPTION', expected, String(maxSequenceLength), 'leave it out');
  }
  return wholeNumber('a number of tokens of T5 (maxSequenceLength)', maxSequenceLength ?? usual, min, max);
}

function joined(warnings: readonly string[]): string | undefined {
  return warnings.length > 0 ? warnings.join('; ') : undefined;
}

function defaultTolerance(sampler: Settings['sampler'], stopping: Stopping): number {
  if (sampler === 'paradigms') return PARADIGMS_TOLERANCE;
  return stopping === 'change' ? CHANGE_TOLERANCE : DEFAULT_TOLERANCE;
}

/** The planner keeps to SRDS where one of these is given: picard has none of them, or counts its iterations differently. */
const SRDS_OPTIONS = ['blocks', 'correction', 'pipelined', 'maxIterations'] as const;

/** The sampler of a command or request that names none: srds if an option of its own is given, else the planner's choice. */
export function usualSampler(values: GenerationValues): 'srds' | 'auto' {
  return requestsRefinement(values) ? 'srds' : 'auto';
}

/** @throws SrdsError INVALID_OPTION if a value does not fit the schema of its option, or belongs to none */
function checkValues(options: GenerateOptions): void {
  if ((options as { readonly size?: unknown } | null | undefined)?.size !== undefined) {
    const remedy = 'give both in pixels: { width: 512, height: 512 }';
    throw new SrdsError('INVALID_OPTION', 'a size as the options width and height', 'the option size', remedy);
  }
  checkLibraryValues(LIBRARY_OPTIONS, options, Object.keys(OTHER_OPTIONS));
}

function partitionFor(blocks: number | Partition | undefined, steps: number): Partition {
  if (blocks === undefined) return defaultPartition(steps);
  return typeof blocks === 'number' ? evenPartition(steps, blocks) : checkPartition(blocks, steps);
}

function scheduleOf(
  { solver: given, eta = GENERATION_OPTIONS.eta.default, spacing, prediction, scheduleType }: GenerateOptions,
  size: ImageSize,
  model: ModelFolder,
): Pick<Settings, 'solver' | 'eta' | 'schedule'> {
  const { scheduler } = model;
  const solver = given ?? scheduler.solver;
  if (solver === undefined) {
    throw new SrdsError(
      'INVALID_OPTION',
      `a solver, since ${scheduler.className}, the model's scheduler, is not supported`,
      'none',
      'choose one with --solver; ddim and euler suit most models',
    );
  }
  if (eta > 0 && solver !== 'ddim') {
    throw new SrdsError('INVALID_OPTION', 'eta with the solver ddim only', solver, 'use ddim, or ddpm for full noise');
  }
  return {
    solver,
    eta,
    schedule: scheduler.scheduleFor(solver, { spacing, prediction, scheduleType, tokens: imageTokens(model, size) }),
  };
}

function strengthOf({ init, strength }: GenerateOptions, model: ModelFolder): number | undefined {
  if (!init) {
    if (strength === undefined) return undefined;
    throw new SrdsError('INVALID_OPTION', 'a strength with an initial image only', 'none', 'give one with --init');
  }
  if (!model.graphs.vae_encoder) {
    throw new SrdsError(
      'MODEL_INVALID',
      `a VAE encoder in ${model.path}, for an initial image`,
      'no vae_encoder/model.onnx',
      'export the model again with all of its parts, or leave out the initial image',
    );
  }
  return strength ?? DEFAULT_STRENGTH;
}

function checkImages({ init, mask }: GenerateOptions): void {
  if (init && valuesOf(init) !== 3 * init.width * init.height) {
    const expected = 'an initial image of { width, height, data }, with 3 values of data for each pixel';
    throw new SrdsError('INVALID_OPTION', expected, foundImage(init), 'use readImage');
  }
  if (!mask) return;
  if (!init) {
    throw new SrdsError('INVALID_OPTION', 'a mask with an initial image only', 'none', 'give one with --init');
  }
  if (mask.width >= 1 && mask.height >= 1 && valuesOf(mask) !== undefined && isMask(mask)) return;
  const expected = 'a mask of { width, height, data }, with 1 or 3 values of data for each pixel';
  throw new SrdsError('INVALID_OPTION', expected, foundImage(mask), 'use readImage');
}

/** Number of values of an image; undefined if it is something else, such as a path. */
function valuesOf({ data }: { readonly data?: Uint8Array }): number | undefined {
  return data instanceof Uint8Array ? data.length : undefined;
}

function foundImage(image: MaskImage): string {
  const values = valuesOf(image);
  return values === undefined ? 'something else' : `${values} values for ${image.width}x${image.height}`;
}

/** diffusers fails where no step is left. Flow matching models and pndm always have one, unless the strength is 0. */
function noStepLeft(steps: number, strength: number): SrdsError {
  const remedy =
    strength === 0 ? 'choose more than 0' : `choose at least ${Math.ceil(1000 / steps) / 1000}, or more steps`;
  const expected = 'a strength that leaves at least one step';
  return new SrdsError('INVALID_OPTION', expected, `${strength} of ${steps} steps`, remedy);
}

function sizeOf({ width, height, init }: GenerateOptions, model: ModelFolder): { width: number; height: number } {
  const down = (side: number) => Math.floor(side / model.sizeStep) * model.sizeStep;
  const fixed = fixedSizeFor(model, init !== undefined);
  const given = init && width === undefined && height === undefined;
  if (
    given &&
    (fixed.width === undefined || fixed.height === undefined) &&
    !(Math.min(init.width, init.height) >= model.sizeStep && Math.max(init.width, init.height) <= maxSideOf(model))
  ) {
    throw new SrdsError(
      'INVALID_OPTION',
      `an initial image of ${model.sizeStep} to ${maxSideOf(model)} pixels a side, unless the size of the result is given`,
      `${init.width}x${init.height}`,
      'give a size, to which the image is resized',
    );
  }
  const size = {
    width: width ?? fixed.width ?? (init ? down(init.width) : model.size.width),
    height: height ?? fixed.height ?? (init ? down(init.height) : model.size.height),
  };
  checkSide('width', size.width, model, fixed);
  checkSide('height', size.height, model, fixed);
  checkTokens(size, model);
  return size;
}

/** Largest side of an image, in pixels. */
export function maxSideOf({ maxSide = Infinity }: ModelFolder): number {
  return Math.min(MAX_SIDE, maxSide);
}

function checkSide(name: 'width' | 'height', side: number, model: ModelFolder, fixed: FixedSize): void {
  const { sizeStep, size } = model;
  const only = fixed[name];
  if (side === only) return;
  if (only !== undefined) {
    throw new SrdsError(
      'INVALID_OPTION',
      `a ${name} of ${only} pixels, which the graphs of this model fix`,
      String(side),
      `choose ${fixed.width ?? size.width}x${fixed.height ?? size.height}, or export the model with free sides`,
    );
  }
  const largest = maxSideOf(model);
  if (Number.isInteger(side) && side >= sizeStep && side <= largest && side % sizeStep === 0) return;
  // A program without types may give text.
  if (typeof side !== 'number')
    throw new SrdsError('INVALID_OPTION', `a number for ${name}`, `a ${typeof side}`, 'give pixels');
  const nearest = Math.min(largest, Math.max(sizeStep, Math.round(side / sizeStep) * sizeStep));
  throw new SrdsError(
    'INVALID_OPTION',
    `a ${name} in multiples of ${sizeStep} pixels, ${sizeStep} to ${largest}, for this model`,
    String(side),
    Number.isFinite(nearest) ? `try ${nearest}` : 'choose one of those',
  );
}

/** @throws SrdsError INVALID_OPTION if the network's graph fixes another number of tokens */
function checkTokens(size: ImageSize, model: ModelFolder): void {
  const { fixedImageTokens: fixed, sizeStep } = model;
  const tokens = imageTokens(model, size);
  if (fixed === undefined || tokens === fixed) return;
  throw new SrdsError(
    'INVALID_OPTION',
    `a size of ${fixed} tokens of ${sizeStep}x${sizeStep} pixels, which the graphs of this model fix`,
    `${size.width}x${size.height}, which has ${tokens}`,
    `choose ${model.size.width}x${model.size.height}, or export the model with free axes`,
  );
}

function noiseOf(
  noise: Tensor | undefined,
  n: number,
  size: { readonly width: number; readonly height: number },
  model: ModelFolder,
): Float32Array | undefined {
  if (noise === undefined) return undefined;
  const dims = [n, ...latentDims(model, size)].join(', ');
  const shape = (noise as Partial<Tensor>).dims?.join(', ');
  const fits = noise.type === 'float32' && shape === dims;
  if (fits && allFinite(noise.data)) return noise.data;
  throw new SrdsError(
    'INVALID_OPTION',
    `initial noise of shape [${dims}]`,
    fits ? 'values that are not finite' : shape === undefined ? 'something else' : `${noise.type} of shape [${shape}]`,
    'give noise of that shape, or another size or number of images',
  );
}

/** Random seeds are those that people can read and type. */
const RANDOM_SEEDS = 2 ** 32;

function firstSeed({ seed = GENERATION_OPTIONS.seed.default }: GenerateOptions): bigint {
  return BigInt(seed) === RANDOM_SEED ? BigInt(randomInt(RANDOM_SEEDS)) : BigInt(seed);
}

function seedInRange(seed: bigint): bigint {
  checkedValue(GENERATION_OPTIONS.seed, seed, { name: 'the seed of each image', remedy: 'choose a smaller seed' });
  return seed;
}
