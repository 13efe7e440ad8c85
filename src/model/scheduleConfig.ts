import { z } from 'zod';
import { issueOf, oneLine, SrdsError } from '../errors.js';
import {
  PREDICTIONS,
  sigmaScheduler,
  SPACINGS,
  type Bound,
  type PredictionType,
  type ScheduleConfig,
  type Scheduler,
  type TimestepSpacing,
} from '../schedule/config.js';

/** Each class's defaults for fields that a file leaves out. Source: the constructors of diffusers' schedulers. */
const CLASS_DEFAULTS: Readonly<Record<Scheduler, object>> = {
  ddim: { timestep_spacing: 'leading', set_alpha_to_one: true, clip_sample: true },
  ddpm: { timestep_spacing: 'leading', clip_sample: true, variance_type: 'fixed_small' },
  pndm: { timestep_spacing: 'leading', set_alpha_to_one: false, skip_prk_steps: false },
  euler: { timestep_spacing: 'linspace' },
  heun: { timestep_spacing: 'linspace', beta_start: 0.00085, beta_end: 0.012, clip_sample: false },
  dpm: { timestep_spacing: 'linspace' },
};

const absent = <Value extends z.core.util.Literal>(name: string, value: Value) =>
  z.literal(value, `${name} is not supported`).nullish();

/** Fields of the classes that step over sigmas. */
const SIGMA_FIELDS = {
  use_exponential_sigmas: absent('use_exponential_sigmas', false),
  use_beta_sigmas: absent('use_beta_sigmas', false),
};

/** Checks of the fields that only some classes read. A class ignores the fields of the others. */
const FIELDS = {
  ddim: z.object({}),
  ddpm: z.object({
    variance_type: z.literal('fixed_small', 'a variance_type other than fixed_small is not supported').nullish(),
  }),
  pndm: z.object({
    skip_prk_steps: z.literal(true, 'pndm with Runge-Kutta steps (skip_prk_steps false) is not supported'),
    prediction_type: z.enum(['epsilon', 'v_prediction']).optional(),
  }),
  euler: z.object({
    ...SIGMA_FIELDS,
    interpolation_type: absent('interpolation_type log_linear', 'linear'),
    timestep_type: absent('timestep_type continuous', 'discrete'),
  }),
  heun: z.object(SIGMA_FIELDS),
  dpm: z.object({
    ...SIGMA_FIELDS,
    // diffusers maps UniPC's and DEIS' names to these.
    algorithm_type: z
      .enum(['dpmsolver++', 'deis'], 'an algorithm_type other than dpmsolver++ is not supported')
      .nullish(),
    solver_type: z.enum(['midpoint', 'heun', 'logrho', 'bh1', 'bh2']).nullish(),
    use_lu_lambdas: absent('use_lu_lambdas', false),
    use_flow_sigmas: absent('use_flow_sigmas', false),
    lambda_min_clipped: z
      .union([z.number(), z.literal('-Infinity')])
      .refine((value) => value === '-Infinity' || value < -50, 'lambda_min_clipped is not supported')
      .nullish(),
    variance_type: z.literal(['fixed_small', 'fixed_large'], 'learned variance is not supported').nullish(),
  }),
} satisfies Record<Scheduler, z.ZodObject>;

const probability = z.number().positive().lt(1);
const schema = z.object({
  num_train_timesteps: z.int().min(1).max(100_000).default(1000),
  beta_start: probability.default(0.0001),
  beta_end: probability.default(0.02),
  beta_schedule: z.enum(['linear', 'scaled_linear', 'squaredcos_cap_v2']).default('linear'),
  trained_betas: z.array(probability).min(1).nullish(),
  prediction_type: z.enum(PREDICTIONS).default('epsilon'),
  timestep_spacing: z.enum(SPACINGS),
  steps_offset: z.int().min(0).default(0),
  set_alpha_to_one: z.boolean().default(false),
  clip_sample: z.boolean().default(false),
  clip_sample_range: z.number().positive().default(1),
  thresholding: z.boolean().default(false),
  dynamic_thresholding_ratio: z.number().min(0).max(1).default(0.995),
  sample_max_value: z.number().positive().default(1),
  rescale_betas_zero_snr: z.boolean().default(false),
  use_karras_sigmas: z.boolean().nullish(),
  sigma_min: z.number().positive().nullish(),
  sigma_max: z.number().positive().nullish(),
  final_sigmas_type: z.enum(['zero', 'sigma_min']).default('zero'),
  lower_order_final: z.boolean().default(true),
  euler_at_final: z.boolean().default(false),
  solver_type: z.string().nullish(),
  solver_order: z.int().default(2),
});

/** How to read a configuration. */
export interface ParseScheduleOptions {
  /** The scheduler class that reads it. Default: `ddim`. */
  readonly scheduler?: Scheduler | undefined;
  /** Replaces the file's timestep_spacing. */
  readonly spacing?: TimestepSpacing | undefined;
  /** Replaces the file's prediction_type. */
  readonly prediction?: PredictionType | undefined;
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
  const { scheduler = 'ddim', spacing, prediction, source = 'scheduler_config.json' } = options;
  const { reader = scheduler } = options;
  const given = content !== null && typeof content === 'object' ? content : { content };
  const overrides = {
    ...(spacing && { timestep_spacing: spacing }),
    ...(prediction && { prediction_type: prediction }),
  };
  const fields = { ...CLASS_DEFAULTS[scheduler], ...given, ...overrides };
  const own = FIELDS[scheduler].safeParse(fields);
  const parsed = schema.safeParse(fields);
  const issue = parsed.error?.issues[0] ?? own.error?.issues[0];
  const fail = (found: string): never => {
    throw new SrdsError(
      'MODEL_INVALID',
      `a diffusers scheduler configuration for ${reader} in ${source}`,
      oneLine(found),
      'choose another --solver, or restore the scheduler_config.json published with the model',
    );
  };
  if (issue) return fail(issueOf(issue));
  if (!parsed.success || Array.isArray(content)) return fail('a value that is not an object');
  const config = toScheduleConfig(parsed.data, scheduler);
  if (config.stepsOffset >= config.trainTimesteps) return fail('steps_offset: it must be below num_train_timesteps');
  if (config.trainedBetas && config.trainedBetas.length !== config.trainTimesteps) {
    return fail('trained_betas: it must have num_train_timesteps entries');
  }
  return config;
}

/** The same configuration under this package's names. */
function toScheduleConfig(c: z.output<typeof schema>, scheduler: Scheduler): ScheduleConfig {
  const has = (...schedulers: Scheduler[]) => schedulers.includes(scheduler);
  return {
    scheduler,
    trainTimesteps: c.num_train_timesteps,
    betaStart: c.beta_start,
    betaEnd: c.beta_end,
    betaSchedule: c.beta_schedule,
    trainedBetas: c.trained_betas ?? undefined,
    predictionType: c.prediction_type,
    timestepSpacing: c.timestep_spacing,
    stepsOffset: c.steps_offset,
    // DDPM's last step always ends without noise.
    setAlphaToOne: has('ddpm') || c.set_alpha_to_one,
    bound: boundOf(c, has),
    zeroSnr: c.rescale_betas_zero_snr && !has('pndm', 'heun'),
    karras: (c.use_karras_sigmas ?? false) && sigmaScheduler(scheduler),
    sigmaMin: c.sigma_min ?? undefined,
    sigmaMax: c.sigma_max ?? undefined,
    finalSigma: has('heun') ? 'zero' : c.final_sigmas_type,
    lowerOrderFinal: c.lower_order_final,
    eulerAtFinal: c.euler_at_final,
    solverType: c.solver_type === 'heun' ? 'heun' : 'midpoint',
    solverOrder: c.solver_order,
  };
}

function boundOf(c: z.output<typeof schema>, has: (...schedulers: Scheduler[]) => boolean): Bound | undefined {
  if (c.thresholding && has('ddim', 'ddpm', 'dpm')) {
    return { kind: 'threshold', ratio: c.dynamic_thresholding_ratio, max: c.sample_max_value };
  }
  if (c.clip_sample && has('ddim', 'ddpm', 'heun')) return { kind: 'clip', range: c.clip_sample_range };
  return undefined;
}
