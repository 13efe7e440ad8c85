import { parseInfotext } from '../../src/image/infotext.js';
import type { FormControl } from '../../src/pipeline/options/form.js';

export type { FormControl };

/** The values of the form's controls by their names; empty text: the server's default. */
export interface Parameters {
  readonly [name: string]: string | number;
  readonly prompt: string;
  readonly sampler: string;
  /** Empty: a random seed. */
  readonly seed: string;
  /** Empty: the first model. */
  readonly model: string;
}

/** Some of the parameters. */
export type Values = Readonly<Record<string, string | number>>;

const EMPTY: Parameters = { prompt: '', sampler: '', seed: '', model: '' };

/** What a form starts with. */
export function initialOf(form: readonly FormControl[]): Parameters {
  return { ...EMPTY, ...Object.fromEntries(shown(form).map(({ name, initial }) => [name, initial])) };
}

/** The model that a name stands for; an empty name stands for the first one. */
export function modelOf<Model extends { readonly name: string }>(models: readonly Model[], name: string): Model {
  return models.find((model) => model.name === name) ?? models[0];
}

/** Whether a control applies to a sampler. */
export function takes({ samplers }: FormControl, sampler: string): boolean {
  return samplers?.includes(sampler) ?? true;
}

/** The number of a control; 0 if it has none, or does not apply to the sampler. */
export function numberOf(form: readonly FormControl[], parameters: Parameters, name: string): number {
  const control = form.find((one) => one.name === name);
  const value = parameters[name];
  return control && takes(control, parameters.sampler) && typeof value === 'number' ? value : 0;
}

/** The body of a request. @param hasSource whether it has an initial image */
export function requestOf(form: readonly FormControl[], parameters: Parameters, hasSource: boolean): object {
  const { model, sampler } = parameters;
  const fields = shown(form)
    .filter((control) => takes(control, sampler) && (hasSource || control.group !== 'image'))
    .flatMap((control) => {
      const value = fieldOf(control, parameters[control.name]);
      return value === undefined ? [] : [[control.field, value] as const];
    });
  return { ...Object.fromEntries(fields), ...(model !== '' && { model }) };
}

/** Parameters without those that belong to an initial image. */
export function withoutSource(form: readonly FormControl[], parameters: Parameters): Parameters {
  const other = new Set(form.filter(({ group }) => group === 'image').map(({ name }) => name));
  return { ...EMPTY, ...Object.fromEntries(Object.entries(parameters).filter(([name]) => !other.has(name))) };
}

function fieldOf({ kind }: FormControl, value: string | number | undefined): unknown {
  if (value === undefined || (value === '' && kind !== 'paragraph')) return undefined;
  if (kind === 'integer' || kind === 'number') return Number(value);
  if (kind !== 'numbers') return String(value);
  const numbers = numbersIn(String(value));
  return numbers.length > 1 ? numbers : numbers[0];
}

function numbersIn(text: string): number[] {
  return [...text.matchAll(/\d+/g)].map(([number]) => Number(number));
}

/** `change` applied to `parameters`; several numbers that had to add up to a changed value are cleared. */
export function changed(
  form: readonly FormControl[],
  parameters: Parameters,
  name: string,
  value: string | number,
): Parameters {
  const stale = form.filter((control) => control.sumsTo === name && /\D/.test(String(parameters[control.name])));
  return { ...parameters, ...Object.fromEntries(stale.map((control) => [control.name, ''])), [name]: value };
}

/** Parameters as a link has them: all of them, since another server may have other defaults. */
export function toHash(form: readonly FormControl[], parameters: Parameters): string {
  const initial = initialOf(form);
  const given = Object.keys(initial).filter(
    (name) => name in parameters && (parameters[name] !== '' || initial[name] !== ''),
  );
  return new URLSearchParams(given.map((name) => [name, String(parameters[name])])).toString();
}

/** Parameters from a link; what does not fit its control is left out. */
export function fromHash(form: readonly FormControl[], hash: string): Values {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  return fromTexts(form, given);
}

/**
 * Parameters from the text that a PNG carries.
 * Source: AUTOMATIC1111 stable-diffusion-webui, infotext_utils; written by src/pipeline/pngParameters.ts.
 */
export function fromInfotext(form: readonly FormControl[], text: string): Values {
  const { prompt, negativePrompt, parameters } = parseInfotext(text);
  const texts = new Map<string, string>();
  const model = parameters.get('Model');
  if (model !== undefined) texts.set('model', model);
  for (const control of shown(form)) {
    const written = writtenIn(parameters, control);
    if (written !== undefined) texts.set(control.name, valueOf(control, written) ?? '');
  }
  for (const { name, sumsTo } of form) {
    const lengths = texts.get(name);
    if (sumsTo !== undefined && lengths !== undefined) {
      texts.set(name, lengthsFor(lengths, Number(texts.get(sumsTo))));
    }
  }
  return { ...fromTexts(form, texts), prompt, negativePrompt };
}

/** A file has the steps of each block, a request with one number how many; after an initial image they are fewer steps. */
function lengthsFor(lengths: string, sum: number): string {
  const numbers = numbersIn(lengths);
  if (numbers.reduce((total, number) => total + number, 0) !== sum) return '';
  return numbers.length > 1 ? lengths : '1';
}

/** Parameters from texts by the names of options, as other programs have them. */
export function fromOptions(form: readonly FormControl[], texts: ReadonlyMap<string, string>): Values {
  const prompts = ['prompt', 'negativePrompt'].map((name) => [name, texts.get(name) ?? ''] as const);
  return { ...fromTexts(form, texts), ...Object.fromEntries(prompts) };
}

/** The parameters of a PNG's text that the form has no control for, or no choice. */
export function leftOut(form: readonly FormControl[], text: string): string[] {
  const { parameters } = parseInfotext(text);
  return form.flatMap((control) => {
    const written = writtenIn(parameters, control);
    // Web UIs write it where they leave the choice to themselves.
    if (written === undefined || written === 'Automatic') return [];
    const lost =
      control.kind === 'hidden' ? written !== String(control.initial) : valueOf(control, written) === undefined;
    return lost ? [`${control.labels[0]} ${written}`] : [];
  });
}

function writtenIn(parameters: ReadonlyMap<string, string>, { labels }: FormControl): string | undefined {
  const label = labels.find((one) => parameters.has(one));
  return label === undefined ? undefined : parameters.get(label);
}

/** A control's value from a PNG's text; undefined if it has no such choice. */
function valueOf({ titles }: FormControl, written: string): string | undefined {
  const entries = Object.entries(titles);
  return entries.length === 0 ? written : entries.find(([, title]) => title === written)?.[0];
}

function fromTexts(form: readonly FormControl[], texts: { get(name: string): string | null | undefined }): Values {
  const values: Record<string, string | number> = {};
  const model = texts.get('model');
  if (model != null) values.model = model;
  for (const { name, kind, initial } of shown(form)) {
    const text = texts.get(name);
    if (text == null) continue;
    if (kind !== 'integer' && kind !== 'number') values[name] = text;
    else if (text.trim() === '' ? initial === '' : Number.isFinite(Number(text))) {
      values[name] = text.trim() === '' ? '' : Number(text);
    }
  }
  return values;
}

function shown(form: readonly FormControl[]): FormControl[] {
  return form.filter(({ kind }) => kind !== 'hidden');
}
