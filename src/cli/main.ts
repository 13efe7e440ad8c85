#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { Command, CommanderError } from 'commander';
import { messageOf, oneLine, SrdsError, systemCode } from '../errors.js';
import { EXIT_CODES, EXIT_INTERNAL, EXIT_SIGNALS } from './exitCodes.js';
import type { Shutdown } from './shutdown.js';
import { version } from '../version.js';

// Samples lie outside V8's heap and count as if they lay in it: one as small as this is looked through for nearly each image.
setFlagsFromString('--heap-growing-percent=400');

/** Runs the command line. @returns the exit code */
async function main(argv: readonly string[]): Promise<number> {
  const abort = new AbortController();
  const ending: Shutdown = { signal: abort.signal, graceMs: 5000, asPlanned: false };
  let ended: keyof typeof EXIT_SIGNALS | undefined;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      // The second time it does not wait for anything any more.
      if (ended) process.exit(EXIT_SIGNALS[signal]);
      ended = signal;
      abort.abort();
      setTimeout(() => process.exit(EXIT_SIGNALS[signal]), ending.graceMs).unref();
    });
  }
  // Whoever reads the report may have gone away.
  process.stdout.on('error', (error) => {
    if (systemCode(error) === 'EPIPE') process.exit(0);
    process.stderr.write(`srds: expected to write to standard output, found ${messageOf(error)}; send it elsewhere\n`);
    process.exit(EXIT_CODES.OUTPUT_FAILED);
  });

  try {
    const commands = await program(ending, argv[2]);
    if (argv.length === 2) commands.outputHelp();
    await commands.parseAsync(argv);
    return ended && !ending.asPlanned ? EXIT_SIGNALS[ended] : 0;
  } catch (error) {
    if (ended) return EXIT_SIGNALS[ended];
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    process.stderr.write(`srds: ${explain(error)}\n`);
    if (process.env.SRDS_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    return exitCodeOf(error);
  }
}

/** Each loads what only it needs. */
const COMMANDS: Readonly<Record<string, (ending: Shutdown) => Promise<Command>>> = {
  generate: async ({ signal }) => (await import('./generate.js')).generateCommand(signal),
  demo: async ({ signal }) => (await import('./demo.js')).demoCommand(signal),
  serve: async (ending) => (await import('./serve.js')).serveCommand(ending),
  inspect: async ({ signal }) => (await import('./inspect.js')).inspectCommand(signal),
  plan: async ({ signal }) => (await import('./plan.js')).planCommand(signal),
  bench: async ({ signal }) => (await import('./bench.js')).benchCommand(signal),
  trace: async () => (await import('./trace.js')).traceCommand(),
  doctor: async () => (await import('./doctor.js')).doctorCommand(),
};

/** @param name of the command that is wanted; if it is none, all are there for the help to list */
async function program(ending: Shutdown, name: string | undefined): Promise<Command> {
  const wanted = name !== undefined && Object.hasOwn(COMMANDS, name) ? [name] : Object.keys(COMMANDS);
  const program = new Command('srds')
    .description('Self-Refining Diffusion Samplers: draw images in parallel over time')
    .version(version(), '-V, --version', 'print the version')
    .addHelpText('after', '\nSet SRDS_DEBUG=1 to see the stack trace of an error.');
  for (const one of wanted) program.addCommand(await COMMANDS[one](ending));
  for (const command of [program, ...program.commands]) {
    command.exitOverride((error) => {
      throw Object.assign(error, { help: command === program ? 'srds --help' : `srds ${command.name()} --help` });
    });
    command.configureOutput({ writeErr: () => undefined });
  }
  return program;
}

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
