import { Argument, Command } from 'commander';
import { bashCompletion } from './completion/bash.js';
import { commandsOf } from './completion/commands.js';
import { fishCompletion } from './completion/fish.js';
import { zshCompletion } from './completion/zsh.js';

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };
type Shell = keyof typeof SHELLS;

/** `srds completion`. The program that it belongs to must have all commands. */
export function completionCommand(): Command {
  return new Command('completion')
    .description('print a script that completes commands, options and their values in a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(SHELLS)))
    .addHelpText(
      'after',
      '\nbash:  srds completion bash > ~/.local/share/bash-completion/completions/srds' +
        '\nzsh:   srds completion zsh > "${fpath[1]}/_srds"' +
        '\nfish:  srds completion fish > ~/.config/fish/completions/srds.fish',
    )
    .action((shell: Shell, _options: object, command: Command) => {
      const program = command.parent;
      if (!program) throw new Error('a command without a program');
      process.stdout.write(SHELLS[shell](commandsOf(program)));
    });
}
