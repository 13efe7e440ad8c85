import { suggestion } from '../pipeline/options/suggestion.js';
import { SERVER_VARIABLES } from '../server/config.js';

const PREFIX = 'SRDS_';

const KNOWN: readonly string[] = ['SRDS_DEBUG', 'SRDS_CONFIG', 'SRDS_COMPARE', ...SERVER_VARIABLES];

/** A variable with the prefix of srds that no command reads, such as a misspelt one. */
export interface UnknownVariable {
  readonly name: string;
  /** The variable that may be meant, as `suggestion` gives it. */
  readonly meant: string;
}

export function unknownVariables(environment: Readonly<Record<string, string | undefined>>): UnknownVariable[] {
  return Object.keys(environment)
    .filter((name) => name.startsWith(PREFIX) && !KNOWN.includes(name))
    .map((name) => ({ name, meant: suggestion(name, KNOWN, PREFIX) }));
}
