import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './fixtures.js';

/** What a process printed and how it ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where a process runs, and what is added to its environment. */
export interface Options {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A process under way. */
export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

/** Starts `srds` with these arguments. */
export function start(args: readonly string[], options: Options = {}): Started {
  return startNode([`${ROOT}dist/cli/main.js`, ...args], options);
}

/** Runs `srds` with these arguments to its end. */
export function srdsCli(args: readonly string[], options: Options = {}): Promise<Ended> {
  return start(args, options).ended;
}

/** What is measured in one test is not kept for others, nor where the user keeps such. */
export const CACHE = mkdtempSync(join(tmpdir(), 'srds-cache-'));
process.on('exit', () => rmSync(CACHE, { recursive: true, force: true }));

/** Starts Node with these arguments. */
export function startNode(args: readonly string[], options: Options = {}): Started {
  const env = { ...process.env, XDG_CACHE_HOME: CACHE, ...options.env };
  const child = spawn(process.execPath, args, { ...options, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<Ended>((resolve) =>
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr })),
  );
  return { child, ended };
}
