import { nonNegative, numberBetween, SrdsError, wholeNumber } from '../errors.js';
import { checkPartition, defaultPartition, evenPartition, type Partition } from '../sampler/partition.js';
import type { Correction } from '../sampler/corrections.js';
import {
  PREDICTIONS,
  SPACINGS,
  type PredictionType,
  type ScheduleConfig,
  type TimestepSpacing,
} from '../schedule/config.js';
import { fineGrid, type SolverStep } from '../schedule/grid.js';
import { solverOf, SOLVERS, type SolverName } from '../solver/registry.js';
import { oneEvaluationSolver, oneStepSolver, type AnySolver } from '../solver/solver.js';
import type { Tensor } from '../tensor/tensor.js';
import type { RgbImage } from '../image/image.js';
import { latentDims, type ModelFolder } from '../model/modelFolder.js';
import { ignoredOptions } from './ignoredOptions.js';

/** Which sampler draws. */
export const SAMPLERS = ['serial', 'srds', 'picard', 'paradigms', 'parataa'] as const;
export type SamplerName = (typeof SAMPLERS)[number];

/** What can be asked for: `auto` is what the planner finds to be the fastest on the devices there are. */
export const SAMPLER_CHOICES = ['auto', ...SAMPLERS] as const;

export { PREDICTIONS, SOLVERS, SPACINGS };
export type { Correction, PredictionType, SolverName, TimestepSpacing };

/** What to draw, and how. An option that the sampler does nothing with is a warning among the events. */
export interface GenerateOptions {
  readonly prompt: string;
  /** What guidance leads away from; default: the empty prompt, for most SDXL models no prompt at all. */
  readonly negativePrompt?: string | undefined;
  /** Of the first image, the next has the next one; default 0. The same seed is the same noise as in diffusers. */
  readonly seed?: number | bigint | undefined;
  /** Images; default 1. */
  readonly n?: number | undefined;
  /** Steps of the fine grid; default 25. */
  readonly steps?: number | undefined;
  /** Default: that of the model's scheduler if it starts itself, else ddim. dpm2m and pndm are for the serial sampler. */
  readonly solver?: SolverName | undefined;
  /** Noise that ddim adds, 0 to 1: none to as much as ddpm; default 0. */
  readonly eta?: number | undefined;
  /** How timesteps are spread; default: as the model's scheduler_config.json says. */
  readonly spacing?: TimestepSpacing | undefined;
  /** What the network predicts; default: as the model's scheduler_config.json says. */
  readonly prediction?: PredictionType | undefined;
  /** Guidance scale; default 5. At 1 or below the network is evaluated without the negative prompt, at half the cost. */
  readonly guidance?: number | undefined;
  /** 0 to 1: how far guidance is scaled back to the prediction's own deviation (Lin et al. 2023, section 3.4); default 0. */
  readonly guidanceRescale?: number | undefined;
  /** The initial noise, [n, channels, height / factor, width / factor]; default: drawn from the seeds. */
  readonly noise?: Tensor | undefined;
  /** Image to start from, brought to the size of the result. */
  readonly init?: RgbImage | undefined;
  /** Share of the steps that are taken from `init` on, above 0 to 1; default 0.8. */
  readonly strength?: number | undefined;
  /** In pixels; default: that of `init` down to what the model can do, or what the model was made for. */
  readonly width?: number | undefined;
  readonly height?: number | undefined;
  /** Default `srds`. `auto`: what should be the fastest, as measured on the devices; with tolerance 0 the serial sampler. */
  readonly sampler?: SamplerName | 'auto' | undefined;
  /** Default `secant`; `parareal` is the paper's. */
  readonly correction?: Correction | undefined;
  /** Default true; false is the paper's vanilla form. */
  readonly pipelined?: boolean | undefined;
  /** Number of even blocks, or the fine steps of each; default: about 1.6 sqrt(steps), shorter ones first. */
  readonly blocks?: number | Partition | undefined;
  /**
   * Mean absolute change of the 8-bit image between iterations, in grey levels, below which to stop, default 0.5; 0: run
   * until exact. picard and parataa, whose passes move less, stop at a fifth of it. paradigms has its own: the share of the
   * noise's deviation by which a state may move; default 0.05.
   */
  readonly tolerance?: number | undefined;
  /** Steps that picard, paradigms and parataa work on at a time; default: all. */
  readonly window?: number | undefined;
  /** Passes that parataa mixes; default 3. */
  readonly history?: number | undefined;
  /** Steps over which parataa computes a state from an earlier one; default: all. */
  readonly order?: number | undefined;
  /** Refinements after which to stop; default: until exact. */
  readonly maxIterations?: number | undefined;
  /** Whether to draw the serial sample too and measure the difference. */
  readonly compare?: boolean | undefined;
  /** Whether events of iterations bring the image so far, which costs a decoding each; default true. */
  readonly previews?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Options with every default filled in and everything checked. */
export interface Settings {
  readonly prompt: string;
  /** null: no prompt, zeros in its place. */
  readonly negativePrompt: string | null;
  readonly seeds: readonly bigint[];
  /** As asked for; with `init` only `grid.length` of them are taken. */
  readonly steps: number;
  readonly solver: SolverName;
  /** The solver of that name. */
  readonly method: AnySolver;
  readonly eta: number;
  readonly schedule: ScheduleConfig;
  /** What of the schedule was asked for, not the model's own. */
  readonly given: Pick<GenerateOptions, 'spacing' | 'prediction'>;
  /** The fine grid. */
  readonly grid: readonly SolverStep[];
  readonly guidance: number;
  readonly guidanceRescale: number;
  readonly noise: Float32Array | undefined;
  readonly init: RgbImage | undefined;
  readonly strength: number | undefined;
  readonly width: number;
  readonly height: number;
  /** `auto` only before the model is ready. */
  readonly sampler: SamplerName | 'auto';
  readonly correction: Correction;
  readonly pipelined: boolean;
  readonly partition: Partition;
  readonly partitionGiven: boolean;
  /** Whether an option was given that means SRDS, or another thing to other samplers. */
  readonly srdsGiven: boolean;
  /** What was given in vain, for people. */
  readonly unused: string | undefined;
  readonly tolerance: number;
  readonly window: number | undefined;
  readonly history: number | undefined;
  readonly order: number | undefined;
  readonly maxIterations: number | undefined;
  readonly compare: boolean;
  readonly previews: boolean;
}

const MAX_SIDE = 4096;
const MAX_IMAGES = 100;

/**
 * Checks options against a model and fills in what is not given.
 * @throws SrdsError INVALID_OPTION, or MODEL_INVALID if the scheduler's file does not go with the solver
 */
export function settingsOf(options: GenerateOptions, model: ModelFolder): Settings {
  const { maxIterations, sampler = 'srds', correction = 'secant', prompt, negativePrompt, init } = options;
  oneOf('a sampler', sampler, SAMPLER_CHOICES);
  oneOf('a correction', correction, ['secant', 'parareal']);
  for (const text of [prompt, negativePrompt ?? ''] as unknown[]) {
    if (typeof text !== 'string') throw new SrdsError('INVALID_OPTION', 'text as prompt', typeof text, 'give a string');
  }
  const { solver, eta, schedule } = scheduleOf(options, model);
  const steps = options.steps ?? 25;
  const whole = fineGrid(schedule, steps);
  const strength = strengthOf(options, steps, model);
  const grid = strength === undefined ? whole : whole.slice(startOf(steps, strength));
  const method = solverOf(solver, { schedule, steps, eta });
  if (sampler !== 'serial' && sampler !== 'auto') oneStepSolver(method);
  if (sampler === 'picard' || sampler === 'paradigms' || sampler === 'parataa') oneEvaluationSolver(method);

  const size = sizeOf(options, model);
  const n = wholeNumber('a number of images', options.n ?? 1, 1, MAX_IMAGES);
  const { blocks } = options;
  if (maxIterations !== undefined) wholeNumber('a number of iterations', maxIterations, 1);
  const first = seedOf(options.seed ?? 0);
  return {
    prompt,
    negativePrompt: negativePrompt ?? (model.zerosForNoNegative ? null : ''),
    seeds: Array.from({ length: n }, (_, i) => seedInRange(first + BigInt(i))),
    steps,
    solver,
    method,
    eta,
    schedule,
    given: { spacing: options.spacing, prediction: options.prediction },
    grid,
    guidance: nonNegative('a guidance scale', options.guidance ?? 5),
    guidanceRescale: numberBetween('a guidance rescale', options.guidanceRescale ?? 0, 0, 1),
    noise: noiseOf(options.noise, n, size, model),
    init,
    strength,
    ...size,
    sampler,
    correction,
    pipelined: options.pipelined ?? true,
    partition: partitionOf(blocks, grid.length),
    partitionGiven: blocks !== undefined,
    srdsGiven: [blocks, options.correction, options.pipelined, maxIterations].some((option) => option !== undefined),
    unused: ignoredOptions(options, sampler),
    tolerance: nonNegative('a tolerance', options.tolerance ?? (sampler === 'paradigms' ? 0.05 : 0.5)),
    window: optional('a window of steps', options.window),
    history: optional('a history of passes', options.history, 8),
    order: optional('an order', options.order),
    maxIterations,
    compare: options.compare ?? false,
    previews: options.previews ?? true,
  };
}

function partitionOf(blocks: number | Partition | undefined, steps: number): Partition {
  if (blocks === undefined) return defaultPartition(steps);
  return typeof blocks === 'number' ? evenPartition(steps, blocks) : checkPartition(blocks, steps);
}

function scheduleOf(
  { solver: asked, eta = 0, spacing, prediction }: GenerateOptions,
  { scheduler }: ModelFolder,
): Pick<Settings, 'solver' | 'eta' | 'schedule'> {
  if (asked !== undefined) oneOf('a solver', asked, SOLVERS);
  if (spacing !== undefined) oneOf('a timestep spacing', spacing, SPACINGS);
  if (prediction !== undefined) oneOf('a prediction type', prediction, PREDICTIONS);
  const solver = asked ?? scheduler.solver;
  if (solver === undefined) {
    throw new SrdsError(
      'INVALID_OPTION',
      `a solver, since the model's ${scheduler.className} is none of those here`,
      'none',
      'choose one with --solver; ddim and euler suit most models',
    );
  }
  numberBetween('an eta', eta, 0, 1);
  if (eta > 0 && solver !== 'ddim') {
    throw new SrdsError('INVALID_OPTION', 'eta with the solver ddim only', solver, 'use ddim, or ddpm for full noise');
  }
  return { solver, eta, schedule: scheduler.scheduleFor(solver, { spacing, prediction }) };
}

function strengthOf({ init, strength }: GenerateOptions, steps: number, model: ModelFolder): number | undefined {
  if (!init) {
    if (strength === undefined) return undefined;
    throw new SrdsError('INVALID_OPTION', 'a strength with an initial image only', 'none', 'give one with --init');
  }
  if (init.data.length !== 3 * init.width * init.height) {
    const expected = `an initial image with ${3 * init.width * init.height} values, [height, width, 3]`;
    throw new SrdsError('INVALID_OPTION', expected, `${init.data.length}`, 'use readImage');
  }
  if (!model.graphs.vae_encoder) {
    throw new SrdsError(
      'MODEL_NOT_FOUND',
      `a VAE encoder in ${model.path}, for an initial image`,
      'no vae_encoder/model.onnx',
      'export the model again with all of its parts, or draw from the prompt alone',
    );
  }
  const value = numberBetween('a strength', strength ?? 0.8, 0, 1);
  if (startOf(steps, value) < steps) return value;
  throw new SrdsError(
    'INVALID_OPTION',
    'a strength that leaves at least one step',
    `${value} of ${steps} steps`,
    `choose at least ${Math.ceil(1000 / steps) / 1000}, or more steps`,
  );
}

/** Source: get_timesteps of diffusers' image-to-image pipelines. */
function startOf(steps: number, strength: number): number {
  return steps - Math.min(Math.floor(steps * strength), steps);
}

function sizeOf({ width, height, init }: GenerateOptions, model: ModelFolder): { width: number; height: number } {
  const down = (side: number) => Math.floor(side / model.sizeStep) * model.sizeStep;
  const given = init && width === undefined && height === undefined;
  if (
    given &&
    !(Math.min(init.width, init.height) >= model.sizeStep && Math.max(init.width, init.height) <= MAX_SIDE)
  ) {
    throw new SrdsError(
      'INVALID_OPTION',
      `an initial image of ${model.sizeStep} to ${MAX_SIDE} pixels a side, unless the size of the result is given`,
      `${init.width}x${init.height}`,
      'give a size, to which it is brought',
    );
  }
  const size = {
    width: width ?? (init ? down(init.width) : model.size.width),
    height: height ?? (init ? down(init.height) : model.size.height),
  };
  checkSide('width', size.width, model);
  checkSide('height', size.height, model);
  return size;
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

function noiseOf(
  noise: Tensor | undefined,
  n: number,
  size: { readonly width: number; readonly height: number },
  model: ModelFolder,
): Float32Array | undefined {
  if (noise === undefined) return undefined;
  const dims = [n, ...latentDims(model, size)].join(', ');
  const fits = noise.type === 'float32' && noise.dims.join(', ') === dims;
  if (fits && noise.data.every(Number.isFinite)) return noise.data;
  throw new SrdsError(
    'INVALID_OPTION',
    `initial noise of shape [${dims}]`,
    fits ? 'values that are not finite' : `${noise.type} of shape [${noise.dims.join(', ')}]`,
    'give noise of that shape, or another size or number of images',
  );
}

function optional(what: string, value: number | undefined, max?: number): number | undefined {
  return value === undefined ? undefined : wholeNumber(what, value, 1, max);
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
