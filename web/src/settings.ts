import { effect, signal } from '@preact/signals';
import type { Info } from '../../src/server/infoAnswer.js';
import { initialOf, modelOf, type Parameters, type Values } from './parameters.js';
import { keep, kept } from './storage.js';

const STORAGE_KEY = 'srds.form';

/** The values of the form. */
export const parameters = signal<Parameters>(initialOf([]));
/** Whether to run the serial sampler too, side by side. */
export const race = signal(false);

/** Takes what the form had when the page was last open, or else what it starts with. */
export function restoreForm(info: Info): void {
  const values = kept(() => localStorage, STORAGE_KEY, {}) as Values & { readonly race?: unknown };
  const names = new Set(['model', ...info.form.map(({ name }) => name)]);
  const known = Object.entries(values).filter(
    (entry): entry is [string, string | number] =>
      names.has(entry[0]) && ['string', 'number'].includes(typeof entry[1]),
  );
  race.value = Boolean(values.race);
  adopt(Object.fromEntries(known), info);
  effect(() => keep(() => localStorage, STORAGE_KEY, { ...parameters.value, race: race.value }));
}

/**
 * Takes parameters as far as the server supports them. Those that are not given get what the form starts with.
 * @returns what it does not support, in words
 */
export function adopt(changes: Values, { form, models }: Info): string[] {
  const model = 'model' in changes ? String(changes.model) : '';
  const hasModel = model === '' || models.some(({ name }) => name === model);
  const { name, initial, pixels } = modelOf(models, model);
  const given: Parameters = { ...initialOf(form), ...initial, ...changes };
  const lacking = form.filter(({ kind, name, initial, choices = [] }) => {
    const value = given[name];
    if (value === initial) return false;
    if (kind === 'size') return areaOf(String(value)) > pixels;
    return kind === 'choice' && !choices.some((choice) => choice.value === value);
  });
  parameters.value = {
    ...given,
    ...Object.fromEntries(lacking.map(({ name, initial }) => [name, initial])),
    // An empty name stands for the first model.
    model: hasModel && name !== models[0].name ? name : '',
  };
  return [
    ...lacking.map(({ label, name }) => `the ${label.toLowerCase()} ${given[name]}`),
    ...(hasModel ? [] : [`the model ${model}`]),
  ];
}

/** Pixels of a size such as 64x64; 0 for `auto`. */
function areaOf(size: string): number {
  const [width, height] = size.split('x').map(Number);
  return width * height || 0;
}
