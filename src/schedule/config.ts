import { z } from 'zod';
import { oneLine, SrdsError } from '../errors.js';

const notYet = (name: string) => z.literal(false, `${name} is not supported yet`);

/** scheduler_config.json, with what diffusers' DDIMScheduler takes where the file says nothing. */
const schema = z
  .object({
    num_train_timesteps: z.int().min(1).max(100_000).default(1000),
    beta_start: z.number().positive().lt(1).default(0.0001),
    beta_end: z.number().positive().lt(1).default(0.02),
    beta_schedule: z.enum(['linear', 'scaled_linear', 'squaredcos_cap_v2']).default('linear'),
    trained_betas: z.array(z.number().positive().lt(1)).min(1).nullish(),
    prediction_type: z.enum(['epsilon', 'v_prediction', 'sample']).default('epsilon'),
    timestep_spacing: z.enum(['leading', 'trailing', 'linspace']).default('leading'),
    steps_offset: z.int().min(0).default(0),
    set_alpha_to_one: z.boolean().default(true),
    clip_sample: notYet('clip_sample').default(false),
    thresholding: notYet('thresholding').default(false),
    rescale_betas_zero_snr: notYet('rescale_betas_zero_snr').default(false),
  })
  .transform((c) => ({
    trainTimesteps: c.num_train_timesteps,
    betaStart: c.beta_start,
    betaEnd: c.beta_end,
    betaSchedule: c.beta_schedule,
    trainedBetas: c.trained_betas ?? undefined,
    predictionType: c.prediction_type,
    timestepSpacing: c.timestep_spacing,
    stepsOffset: c.steps_offset,
    setAlphaToOne: c.set_alpha_to_one,
  }))
  .refine((c) => c.stepsOffset < c.trainTimesteps, { message: 'steps_offset must be below num_train_timesteps' })
  .refine((c) => !c.trainedBetas || c.trainedBetas.length === c.trainTimesteps, {
    message: 'trained_betas must have num_train_timesteps entries',
  });

/** A diffusers scheduler configuration, in this package's names. */
export type ScheduleConfig = z.output<typeof schema>;
/** What the network predicts. */
export type PredictionType = ScheduleConfig['predictionType'];
/** How the timesteps of a sample are spread over those of the training (Lin et al. 2023, table 2). */
export type TimestepSpacing = ScheduleConfig['timestepSpacing'];

/**
 * Reads the parsed content of a diffusers scheduler_config.json as DDIMScheduler.from_config would.
 * @param source where it came from, for the error message
 * @throws SrdsError MODEL_INVALID if a field has a value that cannot be used
 */
export function parseScheduleConfig(content: unknown, source = 'scheduler_config.json'): ScheduleConfig {
  const parsed = schema.safeParse(content);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0];
  throw new SrdsError(
    'MODEL_INVALID',
    `a diffusers scheduler configuration in ${source}`,
    oneLine(path.length ? `${path.join('.')}: ${message}` : message),
    'restore the scheduler_config.json published with the model',
  );
}
