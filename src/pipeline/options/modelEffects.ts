import type { ModelFolder } from '../../model/modelFolder.js';
import { sigmaScheduler } from '../../schedule/config.js';
import { schedulerOf, SOLVERS, type SolverName } from '../../solver/registry.js';
import type { GenerationValues } from './generation.js';

/** What decides which options have an effect on a model. */
type Model = Pick<ModelFolder, 'family' | 'network' | 'scheduler' | 'textEncoders' | 'sequenceLength'>;

/** The values that decide which options have an effect. */
interface Used {
  readonly guidance: number;
  readonly trueGuidance: number;
  readonly solver: SolverName;
}

const SIGMA_SOLVERS = SOLVERS.filter((name) => sigmaScheduler(schedulerOf(name)));

/**
 * Warnings about the given options that have no effect on a model.
 * @param used the scales and the solver in use
 * @param nameOf what they call an option
 */
export function withoutEffectOn(
  model: Model,
  values: GenerationValues,
  used: Used,
  nameOf: (option: string) => string,
): string[] {
  const given = unusedOptions(model).filter(([name]) => values[name] !== undefined);
  const { guidanceOption } = model.family;
  const scale = used[guidanceOption];
  const { negativePrompt } = values;
  return [
    ...(given.length > 0
      ? [
          `this model does nothing with ${given.map(([name, purpose]) => `${nameOf(name)} (for ${purpose})`).join(' and ')}`,
        ]
      : []),
    ...(negativePrompt && scale <= 1
      ? [`${nameOf(guidanceOption)} ${scale} does nothing with ${nameOf('negativePrompt')} (for scales above 1)`]
      : []),
    ...(!model.scheduler.isFlow && values.scheduleType !== undefined && !sigmaScheduler(schedulerOf(used.solver))
      ? [
          `${nameOf('solver')} ${used.solver} does nothing with ${nameOf('scheduleType')} (for ${SIGMA_SOLVERS.join(', ')})`,
        ]
      : []),
    ...(guidanceOption === 'trueGuidance' && scale > 1 && negativePrompt === undefined
      ? [`${nameOf('trueGuidance')} does nothing without ${nameOf('negativePrompt')}`]
      : []),
  ];
}

/** Names of the options that have no effect on a model, and the models that they have one on. */
function unusedOptions(model: Model): (readonly [name: keyof GenerationValues, purpose: string])[] {
  const { family, network, scheduler, textEncoders, sequenceLength } = model;
  const isGuidedTruly = family.guidanceOption === 'trueGuidance';
  const isFlow = scheduler.isFlow ?? false;
  return [
    ...(textEncoders[1] ? [] : [['prompt2', 'models with a second text encoder'] as const]),
    ...(textEncoders[2] ? [] : [['prompt3', 'models with a third text encoder'] as const]),
    ...(sequenceLength ? [] : [['maxSequenceLength', 'models with T5'] as const]),
    ...(isGuidedTruly ? [] : [['trueGuidance', 'models that take the guidance scale as an input'] as const]),
    ...(isGuidedTruly && !network.embedsGuidance
      ? [['guidance', 'models that take the guidance scale as an input'] as const]
      : []),
    ...(isFlow
      ? (['spacing', 'prediction', 'scheduleType'] as const).map(
          (name) => [name, 'models without flow matching'] as const,
        )
      : []),
  ];
}
