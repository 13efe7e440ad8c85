import { z } from 'zod';
import { expectedBy, shortened, SrdsError } from '../../errors.js';
import { suggestion } from './suggestion.js';

/** How the generation parameters of a PNG file show an option. */
export interface InfotextForm<Value> {
  /** The label that is written. */
  readonly label: string;
  /** Other labels, by the sampler that the file names. */
  readonly labelFor?: Readonly<Record<string, string>>;
  /** Texts that stand for values, such as the names that web UIs give to solvers. */
  readonly titles?: Readonly<Record<string, string>>;
  /** Whether a value equal to the default is left out. */
  readonly omitDefault?: boolean;
  /** Default: `String`. */
  write?(value: Value): string;
  /** Default: as the command line reads it. */
  read?(text: string): unknown;
}

/** How a form shows an option. */
export interface Control {
  readonly label: string;
  /** Default: derived from the schema. */
  readonly kind?: 'paragraph' | 'numbers' | 'size' | 'hidden';
  /** Where it stands; default: `main`. `image`: beside an initial image. */
  readonly group?: 'main' | 'more' | 'image';
  /** Whether it takes the whole width. */
  readonly wide?: boolean;
  /** What a form starts with, where that is not the default. */
  readonly initial?: string | number;
  readonly placeholder?: string;
  /** What it means, in sentences for people who do not know the field. */
  readonly help?: string;
  /** A regular expression that the text must match. */
  readonly pattern?: string;
  /** The form's message for a text that does not match. */
  readonly patternError?: string;
  /** Texts that choices are shown by. */
  readonly titles?: Readonly<Record<string, string>>;
  /** The samplers for which it is enabled; default: those that the option has an effect on. */
  readonly samplers?: readonly string[];
  /** The option whose value a list of several numbers must add up to. */
  readonly sumsTo?: string;
}

/** Groups of options in help: those that most people need, what an image shows, how it is sampled, and what is printed and written. */
export type HelpGroup = 'common' | 'image' | 'sampler' | 'output';

/** All that is known about one option. Flags, settings, HTTP fields, PNG parameters and forms are made from it. */
export interface Option<Schema extends z.ZodType = z.ZodType> {
  /** Type and bounds of the value. */
  readonly schema: Schema;
  /** What it means, as a noun phrase with units. */
  readonly description: string;
  /** What the flag that turns it off does, for help; of an option that is on by default. */
  readonly offDescription?: string;
  /** The value where none is given, if it is a constant. */
  readonly default?: z.output<Schema>;
  /** The default in words, if it is computed. */
  readonly defaultText?: string;
  /** Name of a value in help, such as `<n>`; default: derived from the schema. */
  readonly placeholder?: string;
  /** Where help lists it, for commands with such groups; default: `sampler`. */
  readonly group?: HelpGroup;
  /** Flag without dashes, where it differs from the name; a list is given by repeating a flag with a name of its own. */
  readonly flag?: string;
  /** Whether the command line, the environment and files may set it; default true. */
  readonly setting?: boolean;
  /** Whether the command line may set it too; default true. */
  readonly commandLine?: boolean;
  /** Whether HTTP clients may send it; default true. */
  readonly http?: boolean;
  /** Whether HTTP clients must send it; default false. */
  readonly required?: boolean;
  /** Whether errors must not show its value. */
  readonly secret?: boolean;
  /** What a text must be, for errors; default: derived from the schema. */
  readonly expected?: string;
  /** Reads a text; returns invalid text unchanged, so that the schema rejects it. Default: derived from the schema. */
  readonly read?: (text: string) => unknown;
  /** The schema of an HTTP field, whose output is a value; default: `schema` with the limit as its maximum. */
  readonly body?: (limit: number | undefined) => z.ZodType;
  /** The samplers that it has an effect on; default: all. */
  readonly samplers?: readonly string[];
  readonly infotext?: InfotextForm<z.output<Schema>>;
  readonly control?: Control;
}

export type Options = Readonly<Record<string, Option>>;

/** Values of options by their names; an option that was not given is absent or undefined. */
export type OptionValues<Known extends Options> = {
  readonly [Name in keyof Known]?: z.output<Known[Name]['schema']> | undefined;
};

/** The values that options have where none is given, for those whose default is a constant. */
export type DefaultsOf<Known extends Options> = {
  readonly [Name in keyof Known as Known[Name] extends { readonly default: unknown } ? Name : never]: z.output<
    Known[Name]['schema']
  >;
};

/** Values in which every default is filled in. */
export type FilledValues<Known extends Options> = Omit<OptionValues<Known>, keyof DefaultsOf<Known>> &
  DefaultsOf<Known>;

/** Describes an option. */
export function option<Schema extends z.ZodType, const Description extends Omit<Option<Schema>, 'schema'>>(
  schema: Schema,
  description: Description,
): { readonly schema: Schema } & Description {
  return { schema, ...description };
}

/** `values` with the default of every option that has none among them. */
export function withDefaults<Known extends Options>(options: Known, values: OptionValues<Known>): FilledValues<Known> {
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  return { ...defaultsOf(options), ...Object.fromEntries(given) } as FilledValues<Known>;
}

/** The default of every option whose default is a constant. */
export function defaultsOf<Known extends Options>(options: Known): DefaultsOf<Known> {
  const entries = Object.entries(options).filter(([, one]) => one.default !== undefined);
  return Object.fromEntries(entries.map(([name, one]) => [name, one.default])) as DefaultsOf<Known>;
}

/** What the generators derive from a schema. */
export interface ValueShape {
  readonly kind: 'integer' | 'number' | 'boolean' | 'choice' | 'text' | 'integers' | 'texts' | 'other';
  readonly min?: number;
  readonly max?: number;
  /** Whether `min` itself is excluded. */
  readonly above?: boolean;
  readonly choices?: readonly string[];
}

/** The shape of an option's value. */
export function shapeOf({ schema }: Pick<Option, 'schema'>): ValueShape {
  return shapeOfJson(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }));
}

function shapeOfJson(json: z.core.JSONSchema.BaseSchema): ValueShape {
  const { type, minimum, exclusiveMinimum, maximum, items } = json;
  if (json.enum) return { kind: 'choice', choices: json.enum.map(String) };
  switch (type) {
    case 'integer':
    case 'number': {
      const min = minimum ?? (typeof exclusiveMinimum === 'number' ? exclusiveMinimum : undefined);
      return {
        kind: type,
        ...(min !== undefined && min !== Number.MIN_SAFE_INTEGER && { min }),
        ...(maximum !== undefined && maximum !== Number.MAX_SAFE_INTEGER && { max: maximum }),
        ...(minimum === undefined && exclusiveMinimum !== undefined && { above: true }),
      };
    }
    case 'boolean':
      return { kind: 'boolean' };
    case 'string':
      return { kind: 'text' };
    case 'array':
      return { kind: (items as { type?: unknown } | undefined)?.type === 'integer' ? 'integers' : 'texts' };
    default:
      return { kind: 'other' };
  }
}

/** What a value of an option must be, for errors: `a whole number from 1 to 1000`. */
function expectationOf(one: Option): string {
  if (one.expected !== undefined) return one.expected;
  const { kind, min, max, above, choices = [] } = shapeOf(one);
  const range =
    above && max !== undefined
      ? ` above ${min}, at most ${max}`
      : above
        ? ` above ${min}`
        : min !== undefined && max !== undefined
          ? ` from ${min} to ${max}`
          : min !== undefined
            ? ` of at least ${min}`
            : max !== undefined
              ? ` of at most ${max}`
              : '';
  switch (kind) {
    case 'integer':
      return `a whole number${range}`;
    case 'number':
      return `a number${range}`;
    case 'boolean':
      return 'true or false';
    case 'choice':
      return `one of ${choices.join(', ')}`;
    case 'integers':
      return 'whole numbers';
    case 'texts':
      return 'texts';
    case 'text':
    case 'other':
      return 'text';
  }
}

const BOOLEANS: Readonly<Record<string, boolean>> = { true: true, '1': true, false: false, '0': false };

/** A value from text; a text that makes no sense is returned as it is, and fails the schema. */
export function valueFromText(one: Option, text: string): unknown {
  if (one.read) return one.read(text);
  switch (shapeOf(one).kind) {
    case 'integer':
      return integerFrom(text);
    case 'number':
      return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
    case 'boolean':
      return Object.hasOwn(BOOLEANS, text) ? BOOLEANS[text] : text;
    case 'integers':
      return text.split(',').map((part) => integerFrom(part.trim()));
    case 'texts':
      return text.split(',').map((part) => part.trim());
    case 'choice':
    case 'text':
    case 'other':
      return text;
  }
}

/** A whole number from text; any other text is returned as it is. */
export function integerFrom(text: string): number | string {
  return /^[+-]?\d{1,15}$/.test(text) ? Number(text) : text;
}

/** The options of one group of help. */
export function inGroup(options: Options, group: HelpGroup): Options {
  return Object.fromEntries(Object.entries(options).filter(([, one]) => (one.group ?? 'sampler') === group));
}

/** `values` without some of its properties. */
export function without<Values extends object, Name extends keyof Values>(
  values: Values,
  ...names: readonly Name[]
): Omit<Values, Name> {
  const omitted = new Set<PropertyKey>(names);
  return Object.fromEntries(Object.entries(values).filter(([name]) => !omitted.has(name))) as Omit<Values, Name>;
}

/** Where a value stands, for errors. */
export interface ValuePlace {
  /** What the option is called there, such as `--steps`. */
  readonly name: string;
  /** Such as `in the environment`. */
  readonly where?: string;
  readonly remedy: string;
}

/**
 * `value`, if the schema of the option accepts it.
 * @throws SrdsError INVALID_OPTION otherwise
 */
export function checkedValue(one: Option, value: unknown, { name, where, remedy }: ValuePlace): unknown {
  const { success, data, error } = one.schema.safeParse(value);
  if (success) return data;
  const found = one.secret ? 'another value' : shown(value);
  const [{ code, message }] = error.issues;
  const expected = code === 'custom' || code === 'invalid_format' ? expectedBy(message) : undefined;
  throw new SrdsError(
    'INVALID_OPTION',
    `${expected ?? expectationOf(one)} for ${name}`,
    where === undefined ? found : `${found} ${where}`,
    remedy,
  );
}

/**
 * Checks values that a program gives, by the names of their options.
 * @param others names of options that are not described
 * @throws SrdsError INVALID_OPTION if a value does not fit its option, or belongs to none
 */
export function checkLibraryValues(options: Options, values: unknown, others: readonly string[]): void {
  if (typeof values !== 'object' || values === null) {
    throw new SrdsError('INVALID_OPTION', 'an object of options', shown(values), 'give their names and values');
  }
  const known = [...Object.keys(options), ...others];
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || known.includes(name)) continue;
    const found = `${shown(name)}${suggestion(name, known)}`;
    throw new SrdsError('INVALID_OPTION', `options among ${known.join(', ')}`, found, 'remove or correct it');
  }
  const { signal } = values as { readonly signal?: unknown };
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new SrdsError(
      'INVALID_OPTION',
      'an AbortSignal for signal',
      typeof signal,
      'give that of an AbortController',
    );
  }
  for (const [name, one] of Object.entries(options)) {
    const value: unknown = (values as Readonly<Record<string, unknown>>)[name];
    if (value === undefined && !one.required) continue;
    // A number beyond 2^53 is not exact.
    const isInexact = typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value);
    const remedy = isInexact ? 'give it as a bigint' : 'choose another value';
    checkedValue(one, value, { name: `${name} (${one.description})`, remedy });
  }
}

function shown(value: unknown): string {
  const plain = ['bigint', 'number', 'undefined'].includes(typeof value);
  return shortened(plain ? String(value) : JSON.stringify(value), 200);
}

/** `maxIterations` as a flag has it: `max-iterations`. */
export function kebabCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

export type SnakeCase<Name extends string> = Name extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? First : `_${Lowercase<First>}`}${SnakeCase<Rest>}`
  : Name;

/** `maxIterations` as an HTTP field has it: `max_iterations`. */
export function snakeCase<Name extends string>(name: Name): SnakeCase<Name> {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) as SnakeCase<Name>;
}

/** What the names of all environment variables of srds begin with. */
export const VARIABLE_PREFIX = 'SRDS_';

/** The environment variable of an option: `SRDS_MAX_ITERATIONS`. */
export function variableOf(name: string): string {
  return `${VARIABLE_PREFIX}${snakeCase(name).toUpperCase()}`;
}

/** The description of an option with its default, as help and OpenAPI show it. */
export function descriptionOf(one: Option): string {
  const usual = one.defaultText ?? (one.default === undefined ? undefined : textOf(one.default));
  return usual === undefined ? one.description : `${one.description} (default: ${usual})`;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
