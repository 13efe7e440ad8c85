import { z } from 'zod';
import { issueOf, SrdsError } from '../errors.js';
import { dynamicShift, type FlowConfig } from '../schedule/flow.js';
import { INDEX_FILE } from './family.js';
import { readJson } from './files.js';
import { SCHEDULER_FILE, type SchedulerFile } from './scheduler.js';

const off = (name: string) => z.literal(false, `${name} is not supported`).nullish();

/** Beyond this all sigmas but the last are 1 in float32. */
const MAX_SHIFT = 1e6;

const CLASS_NAME = 'FlowMatchEulerDiscreteScheduler';

/** Source: the constructor of diffusers' FlowMatchEulerDiscreteScheduler. */
const schema = z
  .object({
    _class_name: z.literal(CLASS_NAME),
    num_train_timesteps: z.int().min(1).max(100_000).default(1000),
    shift: z.number().positive().default(1),
    use_dynamic_shifting: z.boolean().nullish(),
    base_shift: z.number().default(0.5),
    max_shift: z.number().default(1.15),
    base_image_seq_len: z.int().positive().default(256),
    max_image_seq_len: z.int().positive().default(4096),
    time_shift_type: z.enum(['exponential', 'linear']).default('exponential'),
    invert_sigmas: off('invert_sigmas'),
    use_karras_sigmas: off('use_karras_sigmas'),
    use_exponential_sigmas: off('use_exponential_sigmas'),
    use_beta_sigmas: off('use_beta_sigmas'),
    stochastic_sampling: off('stochastic_sampling'),
    // diffusers takes 0 for none.
    shift_terminal: z.literal(0, 'shift_terminal is not supported').nullish(),
  })
  .refine((c) => c.base_image_seq_len !== c.max_image_seq_len, {
    message: 'it must differ from base_image_seq_len',
    path: ['max_image_seq_len'],
  });

/**
 * Reads the scheduler of a flow matching model.
 * @param named class that model_index.json names, if it does
 * @param spacing how the family's pipeline spaces sigmas before they are shifted
 * @throws SrdsError MODEL_INVALID
 */
export async function readFlowScheduler(
  folder: string,
  named: string | undefined,
  spacing: FlowConfig['spacing'],
): Promise<SchedulerFile> {
  if (named !== undefined && named !== CLASS_NAME) {
    const remedy = 'restore the model_index.json published with the model';
    throw new SrdsError('MODEL_INVALID', `the scheduler ${CLASS_NAME} in ${INDEX_FILE}`, named, remedy);
  }
  const parsed = schema.safeParse(await readJson(folder, SCHEDULER_FILE, z.unknown()));
  const broken = (found: string): SrdsError =>
    new SrdsError(
      'MODEL_INVALID',
      `a configuration of ${CLASS_NAME} in ${SCHEDULER_FILE}`,
      found,
      'restore the scheduler_config.json published with the model',
    );
  if (!parsed.success) throw broken(issueOf(parsed.error.issues[0]));
  const c = parsed.data;
  const isDynamic = c.use_dynamic_shifting ?? false;
  const dynamic = {
    base: { tokens: c.base_image_seq_len, shift: c.base_shift },
    max: { tokens: c.max_image_seq_len, shift: c.max_shift },
    type: c.time_shift_type,
  };
  return {
    className: c._class_name,
    solver: 'euler',
    isFlow: true,
    scheduleFor: (_solver, { tokens = c.base_image_seq_len } = {}) => {
      const shift = isDynamic ? dynamicShift(dynamic, tokens) : c.shift;
      if (!(shift > 0 && shift < MAX_SHIFT)) throw broken(`a shift of ${shift} for ${tokens} tokens`);
      const trainTimesteps = c.num_train_timesteps;
      return { scheduler: 'flow', predictionType: 'flow', trainTimesteps, shift, isDynamic, spacing };
    },
  };
}
