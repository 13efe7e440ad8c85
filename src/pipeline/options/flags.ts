import { descriptionOf, kebabCase, shapeOf, type Options, type ValueShape } from './option.js';

/** A flag of a command line. */
export interface Flag {
  /** The option that it sets. */
  readonly name: string;
  /** With dashes, such as `--no-pipelined`. */
  readonly flag: string;
  /** The flag with the placeholder of its value, such as `--steps <n>`. */
  readonly usage: string;
  /** What help says. */
  readonly description: string;
  readonly choices: readonly string[] | undefined;
  /** `off`: a flag without a value that turns off what is on by default. */
  readonly kind: 'value' | 'on' | 'off' | 'repeated';
}

const PLACEHOLDERS: Readonly<Record<ValueShape['kind'], string>> = {
  integer: '<n>',
  number: '<x>',
  boolean: '',
  choice: '<name>',
  text: '<text>',
  integers: '<list>',
  texts: '<value>',
  other: '<value>',
};

/** The flags of options that the command line may set. */
export function flagsOf(options: Options): Flag[] {
  return Object.entries(options)
    .filter(([, { setting = true, commandLine = true }]) => setting && commandLine)
    .map(([name, one]) => {
      const { kind, choices } = shapeOf(one);
      const long = one.flag ?? kebabCase(name);
      if (kind === 'boolean') {
        const off = one.default === true;
        const flag = `--${off ? 'no-' : ''}${long}`;
        const description = (off ? one.offDescription : undefined) ?? one.description;
        return { name, flag, usage: flag, description, choices: undefined, kind: off ? 'off' : 'on' };
      }
      const repeated = kind === 'texts';
      const of = choices ? `; one of ${choices.join(', ')}` : '';
      return {
        name,
        flag: `--${long}`,
        usage: `--${long} ${one.placeholder ?? PLACEHOLDERS[kind]}`,
        description: repeated ? `${descriptionOf(one)}; may be repeated` : `${descriptionOf(one)}${of}`,
        choices,
        kind: repeated ? 'repeated' : 'value',
      };
    });
}

/** What an option is called on the command line. */
export function flagOf(options: Options, name: string): string {
  return flagsOf(options).find((flag) => flag.name === name)?.flag ?? `--${kebabCase(name)}`;
}
