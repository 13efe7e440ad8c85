#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { Command, CommanderError } from 'commander';
import { messageOf, oneLine, SrdsError, systemCode } from '../errors.js';
import { EXIT_CODES, EXIT_INTERNAL, EXIT_SIGNALS } from './exitCodes.js';
import type { Shutdown } from './shutdown.js';
import { version } from '../version.js';

// Samples live outside V8's heap but count towards its limit. With a slowly growing heap nearly each image triggers a collection.
setFlagsFromString('--heap-growing-percent=400');

/** Runs the command line. @returns the exit code */
async function main(argv: readonly string[]): Promise<number> {
  const abort = new AbortController();
  const shutdown: Shutdown = { signal: abort.signal, graceMs: 5000, asPlanned: false };
  let received: keyof typeof EXIT_SIGNALS | undefined;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      // A second signal exits at once.
      if (received) process.exit(EXIT_SIGNALS[signal]);
      received = signal;
      abort.abort();
      setTimeout(() => process.exit(EXIT_SIGNALS[signal]), shutdown.graceMs).unref();
    });
  }
  // The reader of a pipe may have closed it.
  process.stdout.on('error', (error) => {
    if (systemCode(error) === 'EPIPE') process.exit(0);
    process.stderr.write(`srds: expected to write to standard output, found ${messageOf(error)}; send it elsewhere\n`);
    process.exit(EXIT_CODES.OUTPUT_FAILED);
  });

  try {
    const commands = await program(shutdown, argv[2]);
    if (argv.length === 2) commands.outputHelp();
    await commands.parseAsync(argv);
    return received && !shutdown.asPlanned ? EXIT_SIGNALS[received] : 0;
  } catch (error) {
    if (received) return EXIT_SIGNALS[received];
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    process.stderr.write(`srds: ${explain(error)}\n`);
    if (process.env.SRDS_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    return exitCodeOf(error);
  }
}

/** Commands by name. Each loads its modules when it is needed. */
const COMMANDS: Readonly<Record<string, (shutdown: Shutdown) => Promise<Command>>> = {
  generate: async ({ signal }) => (await import('./generate.js')).generateCommand(signal),
  demo: async ({ signal }) => (await import('./demo.js')).demoCommand(signal),
  serve: async (shutdown) => (await import('./serve.js')).serveCommand(shutdown),
  inspect: async ({ signal }) => (await import('./inspect.js')).inspectCommand(signal),
  plan: async ({ signal }) => (await import('./plan.js')).planCommand(signal),
  bench: async ({ signal }) => (await import('./bench.js')).benchCommand(signal),
  trace: async () => (await import('./trace.js')).traceCommand(),
  doctor: async () => (await import('./doctor.js')).doctorCommand(),
};

/** Builds the command line. @param name name of the command to load; any other name loads all of them for the help */
async function program(shutdown: Shutdown, name: string | undefined): Promise<Command> {
  const wanted = name !== undefined && Object.hasOwn(COMMANDS, name) ? [name] : Object.keys(COMMANDS);
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
  }
  return program;
}

/** The error as one line for the user. */
function explain(error: unknown): string {
  if (error instanceof SrdsError) return error.message;
  if (error instanceof CommanderError) {
    if (error.code === 'commander.help') return 'expected a command; see srds --help';
    const { help = 'srds --help' } = error as { help?: string };
    return `${oneLine(error.message.replace(/^error: /, '')).replace(/\.$/, '')}; see ${help}`;
  }
  return `defect, please report it: ${messageOf(error)}`;
}

function exitCodeOf(error: unknown): number {
  if (error instanceof SrdsError) return EXIT_CODES[error.code];
  return error instanceof CommanderError ? EXIT_CODES.INVALID_OPTION : EXIT_INTERNAL;
}

process.exitCode = await main(process.argv);
