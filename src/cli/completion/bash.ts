import type { CompletedCommand, CompletedValue } from './commands.js';

/** The completion script for bash. It needs no bash-completion. */
export function bashCompletion(commands: readonly CompletedCommand[]): string {
  const valueCases = commands.flatMap(({ name, options }) =>
    options.flatMap(({ flags, value }) =>
      value ? [`    ${flags.map((flag) => quoted(`${name} ${flag}`)).join('|')}) ${valueOf(value)}; return;;`] : [],
    ),
  );
  const takesValue = commands.flatMap(({ name, options }) =>
    options.flatMap(({ flags, value }) => (value ? flags.map((flag) => quoted(`${name} ${flag}`)) : [])),
  );
  const optionCases = commands.map(({ name, options }) => {
    const words = options.flatMap(({ flags }) => flags);
    return `    ${name}) ${wordsOf(words)};;`;
  });
  const argumentCases = commands.flatMap(({ name, values }) =>
    values.map((value, i) => `    ${quoted(`${name} ${i}`)}) ${valueOf(value)};;`),
  );
  return `# Completion of srds for bash.
_srds() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]}
  COMPREPLY=()
  # --option=value arrives as three words.
  if [[ $cur == '=' ]]; then
    cur=
  elif [[ $prev == '=' ]]; then
    prev=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  if (( COMP_CWORD == 1 )); then
    ${wordsOf([...commands.map(({ name }) => name), '--help', '--version'])}
    return
  fi
  case "\${COMP_WORDS[1]} $prev" in
${valueCases.join('\n')}
  esac
  if [[ $cur == -* ]]; then
    case "\${COMP_WORDS[1]}" in
${optionCases.join('\n')}
    esac
    return
  fi
  local i given=0
  for (( i = 2; i < COMP_CWORD; i++ )); do
    case "\${COMP_WORDS[1]} \${COMP_WORDS[i]}" in
    ${takesValue.join('|')})
      if [[ \${COMP_WORDS[i+1]} == '=' ]]; then (( i += 2 )); else (( i++ )); fi;;
    *' -'*) ;;
    *) (( given++ ));;
    esac
  done
  case "\${COMP_WORDS[1]} $given" in
${argumentCases.join('\n')}
  esac
}
complete -F _srds srds
`;
}

function valueOf(value: CompletedValue): string {
  switch (value.kind) {
    case 'words':
      return wordsOf(value.words);
    case 'file':
      return filesOf('-f');
    case 'folder':
      return filesOf('-d');
    case 'other':
      return ':';
  }
}

function wordsOf(words: readonly string[]): string {
  return `mapfile -t COMPREPLY < <(compgen -W ${quoted(words.join(' '))} -- "$cur")`;
}

function filesOf(option: string): string {
  return `compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen ${option} -- "$cur")`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
