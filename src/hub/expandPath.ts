import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import type { Environment } from './environment.js';

/**
 * Replaces `~` and `~user` at the start of a path, then `$NAME` and `${NAME}`. What is unknown stays as it is, and values are not
 * expanded again. Source: Python's os.path.expanduser and os.path.expandvars on POSIX.
 */
export function expandPath(path: string, env: Environment): string {
  return expandVariables(expandUser(path, env), env);
}

function expandUser(path: string, env: Environment): string {
  const [start, user] = /^~([^/]*)/.exec(path) ?? [undefined, ''];
  if (start === undefined) return path;
  const home = user === '' ? homeOf(env) : homeOfUser(user);
  if (home === undefined) return path;
  return home.replace(/\/+$/, '') + path.slice(start.length) || '/';
}

/** The user's home folder. */
export function homeOf({ HOME }: Environment): string {
  return process.platform === 'win32' ? homedir() : (HOME ?? homedir());
}

function homeOfUser(user: string): string | undefined {
  try {
    const entry = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .find(([name]) => name === user);
    return entry?.[5];
  } catch {
    return undefined;
  }
}

function expandVariables(path: string, env: Environment): string {
  return path.replace(/\$(?:(\w+)|\{([^}]*)\})/g, (whole, plain?: string, braced?: string) => {
    return env[plain ?? braced ?? ''] ?? whole;
  });
}
