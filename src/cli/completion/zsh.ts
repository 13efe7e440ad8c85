import type { CompletedCommand, CompletedOption, CompletedValue } from './commands.js';

/** The completion script for zsh, for a file _srds in a folder of fpath, or to be read after compinit. */
export function zshCompletion(commands: readonly CompletedCommand[]): string {
  const names = commands.map(({ name, description }) => `    ${quoted(`${name}:${escaped(description, ':')}`)}`);
  const cases = commands.map(({ name, options, values }) => {
    const specs = [...options.flatMap(specsOf), ...values.map((value, i) => `${i + 1}:argument:${actionOf(value)}`)];
    return `    ${name}) _arguments \\\n${specs.map((spec) => `      ${quoted(spec)}`).join(' \\\n')} ;;`;
  });
  return `#compdef srds
# Completion of srds for zsh.
_srds() {
  local -a commands
  commands=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
${cases.join('\n')}
  esac
}
if [[ $funcstack[1] == _srds ]]; then
  _srds "$@"
else
  compdef _srds srds
fi
`;
}

function specsOf({ flags, description, value }: CompletedOption): string[] {
  return flags.map((flag) => {
    const text = `[${escaped(description, '[]:')}]`;
    if (!value) return `${flag}${text}`;
    // An equals sign allows both --option value and --option=value.
    return `*${flag}${flag.startsWith('--') ? '=' : ''}${text}:value:${actionOf(value)}`;
  });
}

function actionOf(value: CompletedValue): string {
  switch (value.kind) {
    case 'words':
      return `(${value.words.join(' ')})`;
    case 'file':
      return '_files';
    case 'folder':
      return '_files -/';
    case 'other':
      return ' ';
  }
}

function escaped(text: string, special: string): string {
  return Array.from(text, (one) => (special.includes(one) || one === '\\' ? `\\${one}` : one)).join('');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
