import { Option, type Command } from 'commander';
import { flagsOf } from '../pipeline/options/flags.js';
import {
  checkedValue,
  valueFromText,
  variableOf,
  type Options,
  type OptionValues,
} from '../pipeline/options/option.js';

/**
 * Adds the flags of options to a command. Values are read and checked while commander parses.
 * @param variables whether help names the environment variable of each option
 * @returns the command
 */
export function addFlags(command: Command, options: Options, { variables = false } = {}): Command {
  const remedy = `see srds ${command.name()} --help`;
  for (const { name, flag, usage, description, choices, kind } of flagsOf(options)) {
    const one = options[name];
    const text = variables ? `${description} [${variableOf(name)}]` : description;
    const added = new Option(usage, text);
    if (choices) added.choices(choices);
    else if (kind === 'repeated') added.argParser((value: string, before?: string[]) => [...(before ?? []), value]);
    else if (kind === 'value') {
      added.argParser((value: string) => checkedValue(one, valueFromText(one, value), { name: flag, remedy }));
    }
    command.addOption(added);
  }
  return command;
}

/** The values of options among the parsed flags of a command. */
export function valuesFromFlags<Known extends Options>(
  options: Known,
  parsed: Readonly<Record<string, unknown>>,
): OptionValues<Known> {
  const values = flagsOf(options).map(({ name, flag, kind }) => {
    const value = parsed[attributeOf(flag)];
    // Commander sets what a `--no` flag turns off to true where the flag is absent.
    return [name, kind === 'off' && value === true ? undefined : value] as const;
  });
  return Object.fromEntries(values.filter(([, value]) => value !== undefined)) as OptionValues<Known>;
}

/** The name under which commander keeps the value of a flag. */
function attributeOf(flag: string): string {
  return new Option(flag).attributeName();
}
