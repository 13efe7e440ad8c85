import { GENERATION_OPTIONS, type GenerationValues, type SamplerName } from './generation.js';
import type { Options } from './option.js';

/** The samplers that `auto` chooses from. */
const CHOSEN_BY_AUTO: readonly SamplerName[] = ['serial', 'srds', 'picard'];

/** Whether an option of SRDS is given that is not its default switch; where no sampler is named, this selects srds. */
export function requestsRefinement(values: GenerationValues, options: Options = GENERATION_OPTIONS): boolean {
  return Object.entries(values).some(([name, value]) => {
    const one = Object.hasOwn(options, name) ? options[name] : undefined;
    if (value === undefined || !one?.samplers?.includes('srds')) return false;
    return typeof value !== 'boolean' || value !== one.default;
  });
}

/**
 * A warning about the given options that have no effect on a sampler, if there are any.
 * @param nameOf what it calls an option
 */
export function ignoredOptions(
  values: GenerationValues,
  sampler: SamplerName | 'auto',
  nameOf: (option: string) => string,
  options: Options = GENERATION_OPTIONS,
): string[] {
  const able = sampler === 'auto' ? CHOSEN_BY_AUTO : [sampler];
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  const names = new Set(given.map(([name]) => name));
  const ignored = Object.entries(options)
    .filter(([name, { samplers }]) => names.has(name) && samplers && !able.some((one) => samplers.includes(one)))
    .map(([name, { samplers = [] }]) => `${nameOf(name)} (for ${samplers.join(', ')})`);
  return ignored.length > 0 ? [`sampler ${sampler} does nothing with ${ignored.join(' and ')}`] : [];
}

/** Options that any sampler keeps to: the serial image differs from itself by less than any tolerance. */
const KEPT_BY_ALL = ['tolerance', 'stopping'];

/** A warning about the given options that one of `auto`'s samplers uses, for each one that does not. */
export function ignoredByChoice(
  values: GenerationValues,
  nameOf: (option: string) => string,
  options: Options = GENERATION_OPTIONS,
): Partial<Record<SamplerName, string>> {
  const used = Object.entries(values).filter(([name]) => {
    const { samplers = [] } = Object.hasOwn(options, name) ? options[name] : {};
    return CHOSEN_BY_AUTO.some((one) => samplers.includes(one)) && !KEPT_BY_ALL.includes(name);
  });
  const warnings = CHOSEN_BY_AUTO.map((chosen) => [
    chosen,
    ignoredOptions(Object.fromEntries(used), chosen, nameOf, options).at(0),
  ]);
  return Object.fromEntries(warnings) as Partial<Record<SamplerName, string>>;
}
