import assert from 'node:assert/strict';
import { ROOT } from './fixtures.js';

/** What tests use of the command line's module, which the package does not export. */
interface ProgramModule {
  readonly program: (
    shutdown: object,
    name: string,
  ) => Promise<{ parseAsync(argv: readonly string[]): Promise<unknown> }>;
  readonly explain: (error: unknown) => string;
  readonly exitCodeOf: (error: unknown) => number;
}
const { program, explain, exitCodeOf } = (await import(`${ROOT}dist/cli/program.js`)) as ProgramModule;

/**
 * Runs a failing command in this process, which is faster than a process of its own.
 * @param cwd folder to run in
 * @returns its one-line error, its exit code and what it printed
 */
export async function failureIn(
  cwd: string,
  ...args: string[]
): Promise<{ readonly message: string; readonly code: number; readonly stdout: string }> {
  const before = process.cwd();
  process.chdir(cwd);
  let stdout = '';
  const write = process.stdout.write.bind(process.stdout);
  // The test runner's own reports are bytes.
  process.stdout.write = (chunk: string | Uint8Array) => {
    if (typeof chunk === 'string') stdout += chunk;
    else write(chunk);
    return true;
  };
  const shutdown = { signal: new AbortController().signal, graceMs: 0, asPlanned: false };
  const commands = await program(shutdown, args[0]);
  try {
    await commands.parseAsync(['node', 'srds', ...args]);
  } catch (error) {
    return { message: explain(error), code: exitCodeOf(error), stdout };
  } finally {
    process.stdout.write = write;
    process.chdir(before);
  }
  return assert.fail(`${args.join(' ')} succeeded`);
}
