import type { CompletedCommand, CompletedOption, CompletedValue } from './commands.js';

/** The completion script for fish. */
export function fishCompletion(commands: readonly CompletedCommand[]): string {
  const takesValue = commands.flatMap(({ name, options }) =>
    options.flatMap(({ flags, value }) => (value ? flags.map((flag) => quoted(`${name} ${flag}`)) : [])),
  );
  const lines = commands.flatMap(({ name, description, options, values }) => {
    const within = (given: string) => `-n ${quoted(`__srds_at ${name}${given}`)}`;
    return [
      `complete -c srds -n __fish_use_subcommand -a ${name} -d ${quoted(description)}`,
      ...values.flatMap((value, i) =>
        value.kind === 'other' ? [] : [`complete -c srds ${within(` ${i}`)} ${valueOf(value)}`],
      ),
      ...options.map((option) => `complete -c srds ${within('')} ${optionOf(option)}`),
    ];
  });
  return `# Completion of srds for fish.
# Whether a command is typed, and after so many of its arguments if their number is given.
function __srds_at -a command number
    set -l words (commandline -poc)
    test "$words[2]" = $command; or return 1
    test -n "$number"; or return 0
    set -l given 0
    set -l i 3
    while test $i -le (count $words)
        if contains -- "$command $words[$i]" ${takesValue.join(' ')}
            set i (math $i + 1)
        else if not string match -q -- '-*' $words[$i]
            set given (math $given + 1)
        end
        set i (math $i + 1)
    end
    test $given -eq $number
end
complete -c srds -f
${lines.join('\n')}
`;
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
