import { z } from 'zod';
import { SrdsError } from '../errors.js';
import type { ScheduleConfig } from '../schedule/config.js';
import { schedulerOf, SOLVERS, type SolverName } from '../solver/registry.js';
import { readJson } from './files.js';
import { parseScheduleConfig, type ParseScheduleOptions } from './scheduleConfig.js';

const FILE = 'scheduler/scheduler_config.json';

/** What a folder's scheduler class stands for; one that is not here, or looks back, is drawn with DDIM. */
const SOLVER_OF_CLASS: Readonly<Partial<Record<string, SolverName>>> = {
  DDIMScheduler: 'ddim',
  DDPMScheduler: 'ddpm',
  EulerDiscreteScheduler: 'euler',
  HeunDiscreteScheduler: 'heun',
  PNDMScheduler: 'ddim',
  DPMSolverMultistepScheduler: 'ddim',
  DPMSolverSinglestepScheduler: 'ddim',
};

/** Of models that were not trained to predict over a noise schedule of this kind. */
const OTHER_KIND = /FlowMatch|EDM|VQ|LCM|TCD|Consistency|Cosine/;

const schema = z.looseObject({ _class_name: z.string() });

/** A folder's scheduler_config.json, to be read as any scheduler class would. */
export interface SchedulerFile {
  /** The class that it names. */
  readonly className: string;
  /** What it is drawn with unless told otherwise; undefined if its class is none of those that are known here. */
  readonly solver: SolverName | undefined;
  /** @throws SrdsError MODEL_INVALID if the solver's scheduler class cannot use it */
  readonly scheduleFor: (
    solver: SolverName,
    options?: Pick<ParseScheduleOptions, 'spacing' | 'prediction'>,
  ) => ScheduleConfig;
}

/**
 * Reads the scheduler of a model folder.
 * @param forced fields that the pipeline sets whatever the file says
 * @throws SrdsError MODEL_NOT_FOUND, MODEL_INVALID
 */
export async function readScheduler(folder: string, forced: object): Promise<SchedulerFile> {
  const content = await readJson(folder, FILE, schema);
  const { _class_name: className } = content;
  if (OTHER_KIND.test(className)) {
    throw new SrdsError(
      'MODEL_INVALID',
      `a scheduler of a Stable Diffusion model in ${FILE}`,
      `${className}, for which none of the solvers here can stand in`,
      `use a model with ${Object.keys(SOLVER_OF_CLASS).join(', ')}`,
    );
  }
  const scheduleFor: SchedulerFile['scheduleFor'] = (solver, options = {}) => {
    const reading = { scheduler: schedulerOf(solver), reader: solver, source: FILE };
    return parseScheduleConfig({ ...content, ...forced }, { ...options, ...reading });
  };
  const solver = SOLVER_OF_CLASS[className];
  const usable = SOLVERS.some((name) => {
    try {
      return scheduleFor(name);
    } catch {
      return false;
    }
  });
  // What no solver can use is said when the folder is read.
  if (!usable) scheduleFor(solver ?? 'ddim');
  return { className, solver, scheduleFor };
}
