import { ApiError } from './apiError.js';

/** Something that a request asks for and does not get. A client that asks for strictness gets an error instead. */
export interface Concession {
  /** The parameter. */
  readonly param: string;
  /** What happens instead, as a warning says it. */
  readonly warning: string;
  /** Code of the error in its place; default: `invalid_parameter`. */
  readonly code?: string;
}

/** A parameter that this server does nothing with. */
export function ignored(param: string, value?: string): Concession {
  return { param, warning: `this server does nothing with ${param}${value === undefined ? '' : ` ${value}`}` };
}

/** Most fields that warnings name, and most characters of a name. */
const MAX_FIELDS = 10;
const MAX_NAME = 40;

/** Fields that a request has and the API does not. */
export function unknownFields(names: readonly string[]): Concession[] {
  const shown = names.slice(0, MAX_FIELDS).map((name) => ({
    param: name,
    warning: `there is no field ${JSON.stringify(name.slice(0, MAX_NAME))}; it has no effect`,
  }));
  const more = names.length - shown.length;
  return more > 0 ? [...shown, { param: names[MAX_FIELDS], warning: `${more} more fields have no effect` }] : shown;
}

/** @throws ApiError 400 for the first concession */
export function refuseConcessions(concessions: readonly Concession[]): void {
  const first = concessions.at(0);
  if (!first) return;
  const { param, warning, code = 'invalid_parameter' } = first;
  const message = `expected a request that can be met in full, found one that cannot: ${warning}; change it, or leave out strict`;
  throw new ApiError(400, code, message, param);
}
