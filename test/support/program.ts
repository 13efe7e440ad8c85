import assert from 'node:assert/strict';
import { CACHE, type Options } from './cli.js';
import { ROOT } from './fixtures.js';

/** What tests use of the command line's module, which the package does not export. */
interface ProgramModule {
  readonly program: (
    shutdown: object,
    args: readonly string[],
  ) => Promise<{ parseAsync(argv: readonly string[]): Promise<unknown> }>;
  readonly explain: (error: unknown) => string;
  readonly exitCodeOf: (error: unknown) => number;
}
const { program, ...ofErrors } = (await import(`${ROOT}dist/cli/program.js`)) as ProgramModule;
export const { explain, exitCodeOf } = ofErrors;

/** What a command printed in this process. */
export interface Printed {
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that failed: its one-line error, its exit code, and what it printed before. */
export interface Failure extends Printed {
  readonly message: string;
  readonly code: number;
}

/** Runs a failing command in this process, which is faster than a process of its own. One runs at a time. */
export async function failureIn(options: Options, ...args: string[]): Promise<Failure> {
  const { error, ...printed } = await runHere(options, args);
  assert.ok(error, `${args.join(' ')} succeeded`);
  return { message: explain(error.thrown), code: exitCodeOf(error.thrown), ...printed };
}

/** Runs a command that succeeds in this process, which is faster than a process of its own. One runs at a time. */
export async function outputOf(options: Options, ...args: string[]): Promise<Printed> {
  const { error, ...printed } = await runHere(options, args);
  assert.ok(!error, error && `${args.join(' ')}: ${explain(error.thrown)}`);
  return printed;
}

async function runHere(
  { cwd = process.cwd(), env = {} }: Options,
  args: readonly string[],
): Promise<Printed & { readonly error: { readonly thrown: unknown } | undefined }> {
  const before = process.cwd();
  const restore = setVariables({ XDG_CACHE_HOME: CACHE, ...env });
  const [out, err] = [capture(process.stdout), capture(process.stderr)];
  let error: { readonly thrown: unknown } | undefined;
  try {
    process.chdir(cwd);
    const shutdown = { signal: new AbortController().signal, graceMs: 0, asPlanned: false };
    const commands = await program(shutdown, args);
    await commands.parseAsync(['node', 'srds', ...args]);
  } catch (thrown) {
    error = { thrown };
  } finally {
    err.end();
    out.end();
    restore();
    process.chdir(before);
  }
  return { error, stdout: out.text(), stderr: err.text() };
}

/** Keeps what is written to a stream, but for bytes, which are the test runner's own reports. */
function capture(stream: NodeJS.WriteStream) {
  const write = stream.write.bind(stream);
  let text = '';
  stream.write = (chunk: string | Uint8Array) => {
    if (typeof chunk !== 'string') return write(chunk);
    text += chunk;
    return true;
  };
  return { text: () => text, end: () => void (stream.write = write) };
}

/** Sets variables of the environment. @returns what undoes it */
function setVariables(values: Readonly<Record<string, string>>): () => void {
  const before = Object.keys(values).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, values);
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
    }
  };
}
