import { z } from 'zod';
import { descriptionOf, snakeCase, type Option, type Options, type OptionValues, type SnakeCase } from './option.js';

/** How a server narrows the options that clients send. */
export interface BodyLimits {
  /** Largest numbers and longest texts, by option. */
  readonly limits?: Readonly<Record<string, number>>;
  /** Values of options that a request leaves out. */
  readonly defaults?: Readonly<Record<string, unknown>>;
}

/** The fields of a request, by their HTTP names. A field that may be left out may also be null. */
export type BodyShape<Known extends Options> = {
  readonly [Name in keyof Known & string as SnakeCase<Name>]: z.ZodType<
    Known[Name] extends { readonly required: true }
      ? z.output<Known[Name]['schema']>
      : z.output<Known[Name]['schema']> | undefined
  >;
};

/** The fields of a strict object that holds the options which clients may send. Their outputs are library values. */
export function bodyOf<Known extends Options>(
  options: Known,
  { limits = {}, defaults = {} }: BodyLimits = {},
): BodyShape<Known> {
  const fields = Object.entries(options)
    .filter(([, { http = true }]) => http)
    .map(([name, one]) => [snakeCase(name), bodyField(one, limits[name], defaults[name])] as const);
  return Object.fromEntries(fields) as BodyShape<Known>;
}

/** One field of a request. */
export function bodyField<Schema extends z.ZodType>(
  one: Option<Schema>,
  limit?: number,
  value?: unknown,
): z.ZodType<z.output<Schema> | undefined> {
  const schema = one.body?.(limit) ?? limited(one.schema, limit);
  if (one.required) return schema.describe(one.description) as z.ZodType<z.output<Schema>>;
  const described = value === undefined ? one : { ...one, defaultText: undefined, default: value };
  const field = schema
    .nullish()
    .transform((given) => given ?? value)
    .describe(descriptionOf(described as Option));
  return field as z.ZodType<z.output<Schema> | undefined>;
}

function limited(schema: z.ZodType, limit: number | undefined): z.ZodType {
  if (limit !== undefined && (schema instanceof z.ZodNumber || schema instanceof z.ZodString)) return schema.max(limit);
  return schema;
}

/** The values of a checked request. */
export function valuesFromBody<Known extends Options>(
  options: Known,
  body: Readonly<Record<string, unknown>>,
): OptionValues<Known> {
  const given = Object.entries(options)
    .filter(([, { http = true }]) => http)
    .map(([name]) => [name, body[snakeCase(name)]] as const);
  return Object.fromEntries(given.filter(([, value]) => value !== undefined)) as OptionValues<Known>;
}
