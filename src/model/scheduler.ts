import { z } from 'zod';
import { SrdsError } from '../errors.js';
import type { ScheduleConfig } from '../schedule/config.js';
import type { Schedule } from '../schedule/schedule.js';
import { schedulerOf, SOLVERS, type SolverName } from '../solver/registry.js';
import { readJson } from './files.js';
import { givenFields, parseScheduleConfig, type ParseScheduleOptions } from './scheduleConfig.js';

export const SCHEDULER_FILE = 'scheduler/scheduler_config.json';

/** Default solver of each scheduler class. Multistep classes map to DDIM, because a parallel sampler needs a one-step solver. */
const SOLVER_OF_CLASS: Readonly<Partial<Record<string, SolverName>>> = {
  DDIMScheduler: 'ddim',
  DDPMScheduler: 'ddpm',
  EulerDiscreteScheduler: 'euler',
  HeunDiscreteScheduler: 'heun',
  PNDMScheduler: 'ddim',
  DPMSolverMultistepScheduler: 'ddim',
  DPMSolverSinglestepScheduler: 'ddim',
};

/** Scheduler classes of models that were trained with another kind of noise schedule. */
const UNSUPPORTED = /FlowMatch|EDM|VQ|LCM|TCD|Consistency|Cosine/;

const schema = z.looseObject({ _class_name: z.string().optional() });

/** A folder's scheduler_config.json, which each solver reads as its own scheduler class. */
export interface SchedulerFile<Given extends Schedule = Schedule> {
  /** Scheduler class of the folder. */
  readonly className: string;
  /** Default solver; undefined if the class is unknown. */
  readonly solver: SolverName | undefined;
  /** Whether it is that of a flow matching model, which reads no spacing and no prediction; default: no. */
  readonly isFlow?: boolean;
  /**
   * The noise schedule for a solver.
   * @throws SrdsError MODEL_INVALID if the solver's scheduler class does not support the file
   */
  readonly scheduleFor: (solver: SolverName, options?: ScheduleOptions) => Given;
}

/** What a schedule depends on, beside the solver and the file. */
export interface ScheduleOptions extends Pick<ParseScheduleOptions, 'spacing' | 'prediction' | 'scheduleType'> {
  /** Tokens of the image, for flow matching models whose shift depends on its size; default: those of their least shift. */
  readonly tokens?: number;
}

/**
 * Reads the scheduler of a model folder.
 * @param forced fields that the pipeline overrides
 * @param named class that model_index.json names; as in diffusers, it counts more than that of the file
 * @throws SrdsError MODEL_INVALID
 */
export async function readScheduler(
  folder: string,
  forced: object = {},
  named?: string,
): Promise<SchedulerFile<ScheduleConfig>> {
  const content = await readJson(folder, SCHEDULER_FILE, schema);
  const className = named ?? content._class_name ?? 'a scheduler without _class_name';
  const unsupported = [className, content._class_name ?? ''].find((name) => UNSUPPORTED.test(name));
  if (unsupported !== undefined) {
    throw new SrdsError(
      'MODEL_INVALID',
      `a scheduler of a Stable Diffusion model in ${SCHEDULER_FILE}`,
      `${unsupported}, which no solver supports`,
      `use a model with ${Object.keys(SOLVER_OF_CLASS).join(', ')}`,
    );
  }
  // The pipeline's fields replace the defaults of the class too.
  const fields = { ...(givenFields(content) ?? content), ...forced };
  const scheduleFor = (solver: SolverName, { spacing, prediction, scheduleType }: ScheduleOptions = {}) => {
    const reading = { scheduler: schedulerOf(solver), reader: solver, source: SCHEDULER_FILE };
    return parseScheduleConfig(fields, { spacing, prediction, scheduleType, ...reading });
  };
  const solver = SOLVER_OF_CLASS[className];
  const usable = SOLVERS.some((name) => {
    try {
      return scheduleFor(name);
    } catch {
      return false;
    }
  });
  // A file that no solver supports is refused when the folder is read.
  if (!usable) scheduleFor(solver ?? 'ddim');
  return { className, solver, scheduleFor };
}
