#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { CommanderError } from 'commander';
import { messageOf, systemCode } from '../errors.js';
import { EXIT_CODES, EXIT_SIGNALS } from './exitCodes.js';
import { exitCodeOf, explain, program } from './program.js';
import type { Shutdown } from './shutdown.js';

// Samples live outside V8's heap but count towards its limit. With a slowly growing heap nearly each image triggers a collection.
setFlagsFromString('--heap-growing-percent=400');

/** Milliseconds in which a repeated signal counts as the same: npm and timeout pass on what the process group has received already. */
const SAME_SIGNAL_MS = 500;

/** Reports an error in one line. */
function report(error: unknown): void {
  process.stderr.write(`srds: ${explain(error)}\n`);
  if (process.env.SRDS_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
}

// Until here, the start script reports errors.
process.removeAllListeners('uncaughtException');
process.on('uncaughtException', (error) => {
  report(error);
  process.exit(exitCodeOf(error));
});

/** Runs the command line. @returns the exit code */
async function main(argv: readonly string[]): Promise<number> {
  const abort = new AbortController();
  const shutdown: Shutdown = { signal: abort.signal, graceMs: 5000, asPlanned: false };
  let received: keyof typeof EXIT_SIGNALS | undefined;
  let receivedAt = 0;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (received) {
        // A second signal exits at once.
        if (performance.now() - receivedAt > SAME_SIGNAL_MS) process.exit(EXIT_SIGNALS[signal]);
        return;
      }
      received = signal;
      receivedAt = performance.now();
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
    const commands = await program(shutdown, argv.slice(2));
    if (argv.length === 2) commands.outputHelp();
    await commands.parseAsync(argv);
    return received && !shutdown.asPlanned ? EXIT_SIGNALS[received] : 0;
  } catch (error) {
    if (received) {
      process.stderr.write(`srds: ended by ${received}\n`);
      return EXIT_SIGNALS[received];
    }
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    report(error);
    return exitCodeOf(error);
  }
}

process.exitCode = await main(process.argv);
