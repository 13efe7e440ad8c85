import { z } from 'zod';
import { SrdsError } from '../errors.js';
import type { ScheduleConfig } from '../schedule/config.js';
import { schedulerOf, SOLVERS, type SolverName } from '../solver/registry.js';
import { readJson } from './files.js';
import { givenFields, parseScheduleConfig, type ParseScheduleOptions } from './scheduleConfig.js';

const FILE = 'scheduler/scheduler_config.json';

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
export interface SchedulerFile {
  /** Scheduler class of the folder. */
  readonly className: string;
  /** Default solver; undefined if the class is unknown. */
  readonly solver: SolverName | undefined;
  /**
   * The noise schedule for a solver.
   * @throws SrdsError MODEL_INVALID if the solver's scheduler class does not support the file
   */
  readonly scheduleFor: (
    solver: SolverName,
    options?: Pick<ParseScheduleOptions, 'spacing' | 'prediction'>,
  ) => ScheduleConfig;
}

/**
 * Reads the scheduler of a model folder.
 * @param forced fields that the pipeline overrides
 * @param named class that model_index.json names; as in diffusers, it counts more than that of the file
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID
 */
export async function readScheduler(folder: string, forced: object, named?: string): Promise<SchedulerFile> {
  const content = await readJson(folder, FILE, schema);
  const className = named ?? content._class_name ?? 'a scheduler without _class_name';
  const unsupported = [className, content._class_name ?? ''].find((name) => UNSUPPORTED.test(name));
  if (unsupported !== undefined) {
    throw new SrdsError(
      'MODEL_INVALID',
      `a scheduler of a Stable Diffusion model in ${FILE}`,
      `${unsupported}, which no solver supports`,
      `use a model with ${Object.keys(SOLVER_OF_CLASS).join(', ')}`,
    );
  }
  // The pipeline's fields replace the defaults of the class too.
  const fields = { ...(givenFields(content) ?? content), ...forced };
  const scheduleFor: SchedulerFile['scheduleFor'] = (solver, options = {}) => {
    const reading = { scheduler: schedulerOf(solver), reader: solver, source: FILE };
    return parseScheduleConfig(fields, { ...options, ...reading });
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
