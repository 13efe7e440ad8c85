import type { DescribedModel, ModelFamily } from './family.js';
import { nameOfFolder } from './modelName.js';

/** Words in the names of models that were distilled to be sampled in one to eight steps. */
const DISTILLED = /\b(turbo|schnell|lightning|lcm|hyper[- ]?sd(xl)?)\b/i;

/**
 * What shows that a model was distilled to be sampled in a few steps; undefined if nothing does. The configuration of some, such as
 * SD3.5 turbo, is that of the model they come from, so names count too.
 */
export function fewStepsOf(family: ModelFamily, model: DescribedModel): string | undefined {
  const { name, index } = model;
  // The last part of a path or of owner/name: a folder above says nothing of the model.
  const found = [name, index._name_or_path]
    .map((text) =>
      nameOfFolder(text ?? '')
        .split(/[/\\]/)
        .at(-1),
    )
    .find((text) => text !== undefined && DISTILLED.test(text.replaceAll('_', ' ')));
  return family.fewSteps?.(model) ?? (found === undefined ? undefined : `it is called ${found}`);
}
