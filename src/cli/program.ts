import { Command, CommanderError, Help, type Option } from 'commander';
import { messageOf, oneLine, SrdsError, systemCode } from '../errors.js';
import { version } from '../version.js';
import { EXIT_CODES, EXIT_INTERNAL, EXIT_RESOURCES } from './exitCodes.js';
import type { Shutdown } from './shutdown.js';

/** Commands by name. Each loads its modules when it is needed. */
const COMMANDS: Readonly<Record<string, (shutdown: Shutdown) => Promise<Command>>> = {
  generate: async ({ signal }) => (await import('./generate.js')).generateCommand(signal),
  demo: async ({ signal }) => (await import('./demo.js')).demoCommand(signal),
  serve: async (shutdown) => (await import('./serve.js')).serveCommand(shutdown),
  inspect: async ({ signal }) => (await import('./inspect.js')).inspectCommand(signal),
  plan: async ({ signal }) => (await import('./plan.js')).planCommand(signal),
  bench: async ({ signal }) => (await import('./bench.js')).benchCommand(signal),
  'export-triton': async ({ signal }) => (await import('./exportTriton.js')).exportTritonCommand(signal),
  trace: async () => (await import('./trace.js')).traceCommand(),
  doctor: async ({ signal }) => (await import('./doctor.js')).doctorCommand(signal),
  completion: async () => (await import('./completion.js')).completionCommand(),
};

/**
 * Builds the command line.
 * @param args the first decides which commands are loaded
 * @throws CommanderError if help is wanted for what is no command
 */
export async function program(shutdown: Shutdown, args: readonly (string | undefined)[]): Promise<Command> {
  const [name] = args;
  const wantsHelp = args.some((arg) => arg === '--help' || arg === '-h');
  const [first, second] = args.filter((arg) => arg?.startsWith('-') === false);
  const helped = first === 'help' ? second : wantsHelp ? first : undefined;
  if (helped !== undefined && helped !== 'help' && !Object.hasOwn(COMMANDS, helped))
    throw new CommanderError(EXIT_CODES.INVALID_OPTION, 'commander.unknownCommand', `unknown command '${helped}'`);
  const wanted = commandsFor(name);
  const program = new Command('srds')
    .description('Self-Refining Diffusion Samplers: generate images in parallel over time')
    .version(version(), '-V, --version', 'print the version')
    .addHelpText('after', '\nSet SRDS_DEBUG=1 to see the stack trace of an error.');
  for (const one of wanted) program.addCommand(await COMMANDS[one](shutdown));
  for (const command of [program, ...program.commands]) {
    command.exitOverride((error) => {
      throw Object.assign(error, { help: command === program ? 'srds --help' : `srds ${command.name()} --help` });
    });
    command.configureOutput({ writeErr: () => undefined });
    command.configureHelp({ optionDescription });
    const isGrouped = command.options.some(({ helpGroupHeading }) => helpGroupHeading !== undefined);
    if (isGrouped) command.optionsGroup('Other options:');
    command.helpOption('-h, --help', 'print this help');
  }
  return program;
}

/** The text of an option in the help. The descriptions of options with choices name them; a list reads as it is given. */
function optionDescription(option: Option): string {
  const value: unknown = option.defaultValue;
  if (Array.isArray(value)) return `${option.description} (default: ${value.join(',')})`;
  return option.argChoices && option.defaultValue === undefined
    ? option.description
    : new Help().optionDescription(option);
}

/** The commands to load: the one that is named, none for the version, and all of them for the help and for completions. */
function commandsFor(name: string | undefined): readonly string[] {
  if (name === '-V' || name === '--version') return [];
  if (name === 'completion') return Object.keys(COMMANDS);
  return name !== undefined && Object.hasOwn(COMMANDS, name) ? [name] : Object.keys(COMMANDS);
}

/** The error as one line for the user. */
export function explain(error: unknown): string {
  if (error instanceof SrdsError) return error.message;
  if (error instanceof CommanderError) {
    if (error.code === 'commander.help') return 'expected a command; see srds --help';
    const { help = 'srds --help' } = error as { help?: string };
    return `${oneLine(error.message.replace(/^error: /, '')).replace(/\.$/, '')}; see ${help}`;
  }
  if (lacksResources(error))
    return `expected the system to have descriptors and memory left, found ${messageOf(error)}; raise the limits of this shell (ulimit)`;
  return `defect, please report it: ${messageOf(error)}`;
}

function lacksResources(error: unknown): boolean {
  const isRefused = ['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN'].includes(systemCode(error) ?? '');
  // V8's own errors have no code.
  return isRefused || /Array buffer allocation failed|WebAssembly.*Out of memory/.test(messageOf(error));
}

/** The exit code for an error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof SrdsError) return EXIT_CODES[error.code];
  if (lacksResources(error)) return EXIT_RESOURCES;
  return error instanceof CommanderError ? EXIT_CODES.INVALID_OPTION : EXIT_INTERNAL;
}
