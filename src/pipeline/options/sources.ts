import { readFile } from 'node:fs/promises';
import { fileRemedy, messageOf, SrdsError } from '../../errors.js';
import { flagOf } from './flags.js';
import { checkedValue, valueFromText, variableOf, type Options, type OptionValues } from './option.js';
import { suggestion } from './suggestion.js';

/** Settings of one origin, such as the environment. */
export interface Source {
  /** What errors call it. */
  readonly name: string;
  /** Values by the names of their options. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** What an option is called there; default: its name. */
  readonly nameOf?: (option: string) => string;
}

/** Values from the flags of a command line, by the names of their options. */
export function commandLine(options: Options, settings: Readonly<Record<string, unknown>>): Source {
  return { name: 'the command line', settings, nameOf: (name) => flagOf(options, name) };
}

/** Values from variables of the environment; an empty variable counts as absent. */
export function settingsFromEnvironment(
  options: Options,
  environment: Readonly<Record<string, string | undefined>>,
): Source {
  const settings: Record<string, unknown> = {};
  for (const [name, one] of settable(options)) {
    const text = environment[variableOf(name)];
    if (text !== undefined && text !== '') settings[name] = valueFromText(one, text);
  }
  return { name: 'the environment', settings, nameOf: variableOf };
}

/**
 * Values from the content of a JSON file. An option that has a text form of its own, such as a size, may be text.
 * @param ignored settings of other programs that share the file
 * @throws SrdsError INVALID_OPTION for a name that is no option
 */
export function settingsFromFile(
  options: Options,
  content: Readonly<Record<string, unknown>>,
  file: string,
  ignored: readonly string[] = [],
): Source {
  const known = new Map(settable(options));
  const settings: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(content)) {
    const one = known.get(name);
    if (one) settings[name] = one.read && typeof value === 'string' ? one.read(value) : value;
    else if (!ignored.includes(name)) {
      const found = `unknown setting "${name}"${suggestion(name, [...known.keys()])}`;
      throw new SrdsError('INVALID_OPTION', `settings in ${file}`, found, 'remove or correct it');
    }
  }
  return { name: file, settings };
}

/**
 * The JSON object in a file of settings.
 * @throws SrdsError INVALID_OPTION if it cannot be read or is no object
 */
export async function readSettingsFile(file: string): Promise<Readonly<Record<string, unknown>>> {
  const invalid = (found: string, cause?: unknown) =>
    new SrdsError('INVALID_OPTION', `settings in ${file}`, found, fileRemedy(cause, 'give a file with a JSON object'), {
      cause,
    });
  let content: unknown;
  try {
    content = JSON.parse((await readFile(file, 'utf8')).replace(/^\uFEFF/, ''));
  } catch (error) {
    throw invalid(messageOf(error), error);
  }
  if (content === null || typeof content !== 'object' || Array.isArray(content)) throw invalid('no JSON object');
  return content as Readonly<Record<string, unknown>>;
}

/**
 * The values that the sources give, checked. The first source that has a value wins.
 * @param remedy what to do about an error, such as `see srds serve --help`
 * @throws SrdsError INVALID_OPTION if a value of any source does not fit its option
 */
export function mergeSources<Known extends Options>(
  options: Known,
  sources: readonly Source[],
  remedy: string,
): OptionValues<Known> {
  const merged: Record<string, unknown> = {};
  for (const { name: source, settings, nameOf = (name: string) => name } of sources) {
    for (const [name, value] of Object.entries(settings)) {
      if (value === undefined) continue;
      if (!Object.hasOwn(options, name)) {
        const found = `unknown setting "${name}"${suggestion(name, Object.keys(options))}`;
        throw new SrdsError('INVALID_OPTION', `settings in ${source}`, found, remedy);
      }
      const place = { name: nameOf(name), where: `in ${source}`, remedy };
      const checked = checkedValue(options[name], value, place);
      if (!Object.hasOwn(merged, name)) merged[name] = checked;
    }
  }
  return merged as OptionValues<Known>;
}

function settable(options: Options) {
  return Object.entries(options).filter(([, { setting = true }]) => setting);
}
