import { z } from 'zod';
import { issueOf, oneLine, SrdsError } from '../errors.js';
import {
  PREDICTIONS,
  SPACINGS,
  type Bound,
  type PredictionType,
  type ScheduleConfig,
  type Scheduler,
  type ScheduleType,
  type TimestepSpacing,
} from '../schedule/config.js';

/** A field that Python takes for true or false. `null` is false; a missing field has the class's default. */
const flag = (value: boolean) =>
  z
    .union([z.boolean(), z.literal([0, 1]), z.null()])
    .default(value)
    .transform(Boolean);
const isOff = (name: string) => flag(false).refine((value) => !value, `${name} is not supported`);
/** A field that only matters together with others, so it may be null. */
const number = (value: number) => z.number().nullable().default(value);

const probability = z.number().positive().lt(1);
/** Fields of every class. */
const COMMON = {
  num_train_timesteps: z.int().min(1).max(100_000).default(1000),
  beta_start: probability.nullable().default(0.0001),
  beta_end: probability.nullable().default(0.02),
  beta_schedule: z.enum(['linear', 'scaled_linear', 'squaredcos_cap_v2']).default('linear'),
  trained_betas: z.array(probability).min(1).nullish(),
  prediction_type: z.enum(PREDICTIONS).default('epsilon'),
  steps_offset: z.int().nullable().default(0),
};
const LEADING = { timestep_spacing: z.enum(SPACINGS).default('leading') };
const LINSPACE = { timestep_spacing: z.enum(SPACINGS).default('linspace') };
const CLIPPING = { clip_sample_range: number(1) };
const THRESHOLDING = {
  thresholding: flag(false),
  dynamic_thresholding_ratio: number(0.995),
  sample_max_value: z.number().positive().nullable().default(1),
};
/** Fields of the classes that step over sigmas. */
const SIGMAS = {
  use_karras_sigmas: flag(false),
  // Heun and DPM-Solver read them too, although their constructors do not have them.
  sigma_min: z.number().positive().nullish(),
  sigma_max: z.number().positive().nullish(),
  use_exponential_sigmas: isOff('use_exponential_sigmas'),
  use_beta_sigmas: isOff('use_beta_sigmas'),
};
const FINAL = { final_sigmas_type: z.enum(['zero', 'sigma_min']).default('zero') };

/**
 * The fields that each class reads, with its defaults; a class ignores all others. Nulls are as in the class: a flag is off,
 * a number is missed only where it matters. Source: the constructors of diffusers' schedulers.
 */
const FIELDS = {
  ddim: z.object({
    ...COMMON,
    ...LEADING,
    ...CLIPPING,
    ...THRESHOLDING,
    clip_sample: flag(true),
    set_alpha_to_one: flag(true),
    rescale_betas_zero_snr: flag(false),
  }),
  ddpm: z.object({
    ...COMMON,
    ...LEADING,
    ...CLIPPING,
    ...THRESHOLDING,
    clip_sample: flag(true),
    rescale_betas_zero_snr: flag(false),
    // The step takes the root of the one or the exponential of half the logarithm of the other, which is the same.
    variance_type: z
      .literal(['fixed_small', 'fixed_small_log'], 'a variance_type other than fixed_small is not supported')
      .nullish(),
  }),
  pndm: z.object({
    ...COMMON,
    ...LEADING,
    prediction_type: z.enum(['epsilon', 'v_prediction']).default('epsilon'),
    set_alpha_to_one: flag(false),
    skip_prk_steps: flag(false).refine(Boolean, 'pndm with Runge-Kutta steps (skip_prk_steps false) is not supported'),
  }),
  euler: z
    .object({
      ...COMMON,
      ...LINSPACE,
      ...SIGMAS,
      ...FINAL,
      rescale_betas_zero_snr: flag(false),
      interpolation_type: z.literal('linear', 'interpolation_type log_linear is not supported').optional(),
      timestep_type: z.enum(['discrete', 'continuous']).nullish(),
    })
    .refine((c) => c.timestep_type !== 'continuous' || c.prediction_type !== 'v_prediction', {
      path: ['timestep_type'],
      message: 'timestep_type continuous is not supported',
    }),
  heun: z.object({
    ...COMMON,
    ...LINSPACE,
    ...SIGMAS,
    ...CLIPPING,
    beta_start: probability.nullable().default(0.00085),
    beta_end: probability.nullable().default(0.012),
    clip_sample: flag(false),
  }),
  dpm: z.object({
    ...COMMON,
    ...LINSPACE,
    ...THRESHOLDING,
    ...SIGMAS,
    ...FINAL,
    rescale_betas_zero_snr: flag(false),
    // diffusers maps UniPC's and DEIS' names to these.
    algorithm_type: z
      .enum(['dpmsolver++', 'deis'], 'an algorithm_type other than dpmsolver++ is not supported')
      .optional(),
    solver_type: z.enum(['midpoint', 'heun', 'logrho', 'bh1', 'bh2']).optional(),
    solver_order: z.int().default(2),
    lower_order_final: flag(true),
    euler_at_final: flag(false),
    use_lu_lambdas: isOff('use_lu_lambdas'),
    use_flow_sigmas: isOff('use_flow_sigmas'),
    // Python writes infinities as bare words; the reader of files makes them strings.
    lambda_min_clipped: z.union([z.number(), z.literal('-Infinity').transform(() => -Infinity)]).default(-Infinity),
    variance_type: z
      .string()
      .refine((type) => !type.startsWith('learned'), 'learned variance is not supported')
      .nullish(),
  }),
} satisfies Record<Scheduler, z.ZodType>;

/** Values of the fields that a class does not have. */
const ABSENT = {
  set_alpha_to_one: false,
  clip_sample: false,
  clip_sample_range: null,
  thresholding: false,
  dynamic_thresholding_ratio: null,
  sample_max_value: null,
  rescale_betas_zero_snr: false,
  use_karras_sigmas: false,
  sigma_min: undefined,
  sigma_max: undefined,
  final_sigmas_type: 'zero',
  lower_order_final: true,
  euler_at_final: false,
  solver_type: undefined,
  solver_order: 2,
  lambda_min_clipped: -Infinity,
} as const;
type FieldsOf<Own> = Omit<typeof ABSENT, keyof Own> & Own;
type Fields = { [Name in Scheduler]: FieldsOf<z.output<(typeof FIELDS)[Name]>> }[Scheduler];

/** How to read a configuration. */
export interface ParseScheduleOptions {
  /** The scheduler class that reads it. Default: `ddim`. */
  readonly scheduler?: Scheduler | undefined;
  /** Replaces the file's timestep_spacing. */
  readonly spacing?: TimestepSpacing | undefined;
  /** Replaces the file's prediction_type. */
  readonly prediction?: PredictionType | undefined;
  /** Replaces the file's use_karras_sigmas. */
  readonly scheduleType?: ScheduleType | undefined;
  /** What needs the configuration, for error messages. Default: the class. */
  readonly reader?: string | undefined;
  /** Name of the file, for error messages. */
  readonly source?: string | undefined;
}

/**
 * Reads a diffusers scheduler_config.json as `from_config` of a scheduler class reads it.
 * @param content the parsed JSON
 * @throws SrdsError MODEL_INVALID if a field has an unsupported value
 * @example
 * const schedule = parseScheduleConfig(JSON.parse(await readFile('scheduler/scheduler_config.json', 'utf8')));
 */
export function parseScheduleConfig(content: unknown, options: ParseScheduleOptions = {}): ScheduleConfig {
  const { scheduler = 'ddim', spacing, prediction, scheduleType, source = 'scheduler_config.json' } = options;
  const { reader = scheduler } = options;
  const fail = (found: string): never => {
    throw new SrdsError(
      'MODEL_INVALID',
      `a diffusers scheduler configuration for ${reader} in ${source}`,
      oneLine(found),
      'choose another --solver, or restore the scheduler_config.json published with the model',
    );
  };
  if (content === null || typeof content !== 'object' || Array.isArray(content)) {
    return fail('a value that is not an object');
  }
  const given = givenFields(content);
  if (!given) return fail('_use_default_values: expected a list of names');
  const parsed = FIELDS[scheduler].safeParse({
    ...given,
    ...(spacing && { timestep_spacing: spacing }),
    ...(prediction && { prediction_type: prediction }),
    ...(scheduleType && { use_karras_sigmas: scheduleType === 'karras' }),
  });
  if (!parsed.success) return fail(issueOf(parsed.error.issues[0]));
  const fields = { ...ABSENT, ...parsed.data };
  const missing = missingField(fields);
  if (missing !== undefined) return fail(missing);
  return toScheduleConfig(fields, scheduler);
}

/**
 * The fields of a configuration without those of `_use_default_values`: diffusers filled them in with the defaults of the class that
 * saved the file, and another class takes its own. Source: ConfigMixin.extract_init_dict.
 * @returns undefined if that list is malformed
 */
export function givenFields(content: object): Readonly<Record<string, unknown>> | undefined {
  const { _use_default_values: names = [], ...fields } = content as Readonly<Record<string, unknown>>;
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string')) return undefined;
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
}

/** What is wrong with fields that matter together; undefined if nothing is. */
function missingField(c: Fields): string | undefined {
  const given = (name: keyof Fields, min: number, max = Infinity): string | undefined => {
    const value = c[name];
    return typeof value === 'number' && value >= min && value <= max ? undefined : `${name}: ${String(value)}`;
  };
  const { trained_betas: trained, beta_schedule: betas } = c;
  if (trained && trained.length !== c.num_train_timesteps)
    return 'trained_betas: it must have num_train_timesteps entries';
  const interpolated = !trained && betas !== 'squaredcos_cap_v2';
  return (
    (interpolated ? (given('beta_start', 0) ?? given('beta_end', 0)) : undefined) ??
    (c.timestep_spacing === 'leading' ? given('steps_offset', 0) : undefined) ??
    (c.clip_sample && !c.thresholding ? given('clip_sample_range', Number.MIN_VALUE) : undefined) ??
    (c.thresholding ? given('dynamic_thresholding_ratio', 0, 1) : undefined)
  );
}

/** The same configuration under this package's names. */
function toScheduleConfig(c: Fields, scheduler: Scheduler): ScheduleConfig {
  return {
    scheduler,
    trainTimesteps: c.num_train_timesteps,
    betaStart: c.beta_start ?? 0,
    betaEnd: c.beta_end ?? 0,
    betaSchedule: c.beta_schedule,
    trainedBetas: c.trained_betas ?? undefined,
    predictionType: c.prediction_type,
    timestepSpacing: c.timestep_spacing,
    stepsOffset: c.steps_offset ?? 0,
    // DDPM's last step always ends without noise.
    setAlphaToOne: scheduler === 'ddpm' || c.set_alpha_to_one,
    bound: boundOf(c),
    zeroSnr: c.rescale_betas_zero_snr,
    karras: c.use_karras_sigmas,
    sigmaMin: c.sigma_min ?? undefined,
    sigmaMax: c.sigma_max ?? undefined,
    finalSigma: c.final_sigmas_type,
    lowerOrderFinal: c.lower_order_final,
    eulerAtFinal: c.euler_at_final,
    solverType: c.solver_type === 'heun' ? 'heun' : 'midpoint',
    solverOrder: c.solver_order,
    lambdaMin: c.lambda_min_clipped,
  };
}

function boundOf(c: Fields): Bound | undefined {
  if (c.thresholding) {
    return { kind: 'threshold', ratio: c.dynamic_thresholding_ratio ?? 0, max: c.sample_max_value ?? Infinity };
  }
  return c.clip_sample ? { kind: 'clip', range: c.clip_sample_range ?? 0 } : undefined;
}
