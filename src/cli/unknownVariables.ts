import { VARIABLE_PREFIX } from '../pipeline/options/option.js';
import { suggestion } from '../pipeline/options/suggestion.js';
import { SERVER_VARIABLES } from '../server/config.js';

const KNOWN: readonly string[] = ['SRDS_DEBUG', 'SRDS_CONFIG', 'SRDS_COMPARE', ...SERVER_VARIABLES];

/** An environment variable with the prefix of srds that no command reads, such as a misspelt one. */
export interface UnknownVariable {
  readonly name: string;
  /** The variable that is most like it, as `suggestion` gives it. */
  readonly suggested: string;
}

export function unknownVariables(environment: Readonly<Record<string, string | undefined>>): UnknownVariable[] {
  return Object.keys(environment)
    .filter((name) => name.startsWith(VARIABLE_PREFIX) && !KNOWN.includes(name))
    .map((name) => ({ name, suggested: suggestion(name, KNOWN, VARIABLE_PREFIX) }));
}
