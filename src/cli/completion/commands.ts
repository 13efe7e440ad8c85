import type { Argument, Command, Option } from 'commander';

/** What to complete as a value: one of some words, a file, a folder, or nothing that is known. */
export type CompletedValue =
  { readonly kind: 'words'; readonly words: readonly string[] } | { readonly kind: 'file' | 'folder' | 'other' };

/** An option as completions know it. */
export interface CompletedOption {
  /** With dashes, the long one first. */
  readonly flags: readonly string[];
  readonly description: string;
  /** Undefined for a flag without a value. */
  readonly value: CompletedValue | undefined;
}

/** A command as completions know it. */
export interface CompletedCommand {
  readonly name: string;
  readonly description: string;
  readonly options: readonly CompletedOption[];
  /** Its arguments in order. */
  readonly values: readonly CompletedValue[];
}

/** The commands of a program with their options. */
export function commandsOf(program: Command): CompletedCommand[] {
  return program.commands.map((command) => {
    const help = command.createHelp();
    return {
      name: command.name(),
      description: firstLine(command.description()),
      options: help.visibleOptions(command).map(optionOf),
      values: command.registeredArguments.map(valueOf),
    };
  });
}

function optionOf(option: Option): CompletedOption {
  const { long, short, description, required, optional } = option;
  return {
    flags: [long, short].filter((flag) => flag !== undefined),
    description: firstLine(description),
    value: required || optional ? valueOf(option) : undefined,
  };
}

/** What a value is, by its choices or else its placeholder: `<file.npy>`, `<image>`, `<folder>`. */
function valueOf(of: Option | Argument): CompletedValue {
  if (of.argChoices) return { kind: 'words', words: of.argChoices };
  const placeholder = 'flags' in of ? of.flags : of.name();
  if (/folder|model|repository/.test(placeholder)) return { kind: 'folder' };
  return { kind: /\b(file|image)\b/.test(placeholder) ? 'file' : 'other' };
}

/** What an option means, without what it means in special cases, its default and its choices. */
function firstLine(description: string): string {
  return description.split(/; | \(default|\[SRDS_|\. /)[0].trim();
}
