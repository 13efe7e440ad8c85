import { labelsOf, textOf } from './infotext.js';
import { shapeOf, snakeCase, type Control, type Option, type Options, type ValueShape } from './option.js';

/** A choice of a form control. */
export interface FormChoice {
  readonly value: string;
  readonly title: string;
}

/** A control of a form, as plain JSON. */
export interface FormControl {
  /** The name of the option. */
  readonly name: string;
  /** The name of its HTTP field. */
  readonly field: string;
  readonly label: string;
  /** `hidden`: not shown, but PNG files may have it. */
  readonly kind: 'integer' | 'number' | 'choice' | 'text' | 'paragraph' | 'numbers' | 'size' | 'hidden';
  readonly group: 'main' | 'more' | 'image';
  readonly wide: boolean;
  /** What the form starts with; empty text: the server's default. */
  readonly initial: string | number;
  /** Largest number, or longest text. */
  readonly max?: number | undefined;
  readonly min?: number | undefined;
  readonly choices?: readonly FormChoice[] | undefined;
  readonly placeholder?: string | undefined;
  readonly help?: string | undefined;
  readonly pattern?: string | undefined;
  readonly patternError?: string | undefined;
  readonly sumsTo?: string | undefined;
  /** The samplers that it has an effect on; absent: all. */
  readonly samplers?: readonly string[] | undefined;
  /** How PNG files show it: by which labels, and which texts stand for values. */
  readonly labels: readonly string[];
  readonly titles: Readonly<Record<string, string>>;
}

/** What a server restricts. */
export interface FormLimits {
  readonly limits?: Readonly<Record<string, number>>;
  /** The values that it offers, by option; default: all. */
  readonly choices?: Readonly<Record<string, readonly string[]>>;
  /** Values that a form starts with, by option. */
  readonly defaults?: Readonly<Record<string, unknown>>;
}

/** The controls of a form for the options that have one, and hidden ones for the others that PNG files may have. */
export function formOf(options: Options, server: FormLimits = {}): FormControl[] {
  return Object.entries(options).flatMap(([name, one]) =>
    one.control || one.infotext ? [controlOf(name, one, one.control ?? { label: name, kind: 'hidden' }, server)] : [],
  );
}

function controlOf(
  name: string,
  one: Option,
  control: Control,
  { limits = {}, choices = {}, defaults = {} }: FormLimits,
): FormControl {
  const shape = shapeOf(one);
  const values = shape.choices?.filter((value) => !Object.hasOwn(choices, name) || choices[name].includes(value));
  const {
    kind = kindOf(shape),
    label,
    group = 'main',
    wide = false,
    placeholder,
    help,
    pattern,
    patternError,
    sumsTo,
  } = control;
  return {
    name,
    field: snakeCase(name),
    label,
    kind,
    group,
    wide,
    initial: initialOf(one, control, defaults[name]),
    min: shape.min,
    max: limits[name] ?? shape.max,
    choices: values?.map((value) => ({ value, title: control.titles?.[value] ?? value })),
    placeholder,
    help,
    pattern,
    patternError,
    sumsTo,
    samplers: control.samplers ?? one.samplers,
    labels: labelsOf(one.infotext),
    titles: one.infotext?.titles ?? {},
  };
}

/** @param value the server's own default */
function initialOf(one: Option, control: Control, value: unknown): string | number {
  const given = value ?? control.initial ?? one.default;
  if (given === undefined) return '';
  if (typeof given === 'number' || typeof given === 'string') return given;
  return one.infotext ? textOf(one.infotext, given) : JSON.stringify(given);
}

function kindOf({ kind }: ValueShape): FormControl['kind'] {
  return kind === 'integer' || kind === 'number' || kind === 'choice' ? kind : 'text';
}
