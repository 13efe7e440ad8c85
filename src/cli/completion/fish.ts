import type { CompletedCommand, CompletedOption, CompletedValue } from './commands.js';

/** The completion script for fish. */
export function fishCompletion(commands: readonly CompletedCommand[]): string {
  const lines = commands.flatMap(({ name, description, options, argument }) => {
    const within = `-n ${quoted(`__fish_seen_subcommand_from ${name}`)}`;
    return [
      `complete -c srds -n __fish_use_subcommand -a ${name} -d ${quoted(description)}`,
      ...(argument.kind === 'other' ? [] : [`complete -c srds ${within} ${valueOf(argument)}`]),
      ...options.map((option) => `complete -c srds ${within} ${optionOf(option)}`),
    ];
  });
  return ['# Completion of srds for fish.', 'complete -c srds -f', ...lines, ''].join('\n');
}

function optionOf({ flags, description, value }: CompletedOption): string {
  const names = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
  return [...names, ...(value ? ['-r', valueOf(value)] : []), `-d ${quoted(description)}`].join(' ');
}

function valueOf(value: CompletedValue): string {
  switch (value.kind) {
    case 'words':
      return `-f -a ${quoted(value.words.join(' '))}`;
    case 'file':
      return '-F';
    case 'folder':
      return `-f -a '(__fish_complete_directories)'`;
    case 'other':
      return '-f';
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
