import { infotext, parseInfotext, type Parameters } from '../../image/infotext.js';
import { valueFromText, type InfotextForm, type Options, type OptionValues } from './option.js';

/** The labels and texts of values, for the options that PNG files have and that apply to the sampler. */
export function infotextEntries<Known extends Options>(
  options: Known,
  values: OptionValues<Known>,
  sampler?: string,
): Parameters {
  return Object.entries(options).flatMap(([name, one]) => {
    const value: unknown = values[name];
    const form = one.infotext;
    if (!form || value === undefined || (form.omitDefault && value === one.default)) return [];
    if (sampler !== undefined && one.samplers && !one.samplers.includes(sampler)) return [];
    const label = (sampler !== undefined ? form.labelFor?.[sampler] : undefined) ?? form.label;
    return [[label, textOf(form, value)] as const];
  });
}

/** The text of a value in a PNG file. */
export function textOf(form: InfotextForm<unknown>, value: unknown): string {
  return form.titles?.[String(value)] ?? form.write?.(value) ?? String(value);
}

/** The text of a PNG file from which `valuesFromInfotext` reads the same values. */
export function infotextOf<Known extends Options>(options: Known, values: OptionValues<Known>): string {
  const { prompt = '', negativePrompt, sampler } = values as Readonly<Record<string, string | undefined>>;
  return infotext(prompt, negativePrompt, infotextEntries(options, values, sampler));
}

/** The values that the text of a PNG file holds; what is unknown or does not fit its option is left out. */
export function valuesFromInfotext<Known extends Options>(options: Known, text: string): OptionValues<Known> {
  const { prompt, negativePrompt, parameters } = parseInfotext(text);
  const found: Record<string, unknown> = { prompt, ...(negativePrompt !== '' && { negativePrompt }) };
  for (const [name, one] of Object.entries(options)) {
    const written = labelsOf(one.infotext)
      .map((label) => parameters.get(label))
      .find((value) => value !== undefined);
    if (written === undefined) continue;
    const titled = Object.entries(one.infotext?.titles ?? {}).find(([, title]) => title === written)?.[0];
    const value = titled ?? one.infotext?.read?.(written) ?? valueFromText(one, written);
    const { success, data } = one.schema.safeParse(value);
    if (success) found[name] = data;
  }
  return found as OptionValues<Known>;
}

/** All labels under which files may have an option. */
export function labelsOf(form: InfotextForm<never> | undefined): string[] {
  return form ? [form.label, ...Object.values(form.labelFor ?? {})] : [];
}
