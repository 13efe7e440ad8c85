import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { messageOf, SrdsError } from '../errors.js';
import { fromText, parseConfig, SETTINGS, type Given, type SettingName } from '../server/config.js';
import { createLog, startServer } from '../server/server.js';
import type { Shutdown } from './shutdown.js';

/** How settings that hold several values are given one at a time. */
const SINGULAR: Readonly<Partial<Record<SettingName, string>>> = {
  models: 'model',
  apiKeys: 'api-key',
  corsOrigins: 'cors-origin',
};

/** `srds serve`. */
export function serveCommand(ending: Shutdown): Command {
  const command = new Command('serve')
    .description('serve the OpenAI images API, and a page, until it is ended')
    .option(
      '--config <file>',
      'JSON file of settings; those of the environment and the command line count more [SRDS_CONFIG]',
    );
  for (const { name, kind, description, fallback, variable } of SETTINGS) {
    const flag = flagOf(name);
    const usual = typeof fallback === 'string' || typeof fallback === 'number' ? ` (default: ${fallback})` : '';
    const text = `${description}${usual} [${variable}]`;
    if (kind === 'boolean') command.option(flag, fallback === true ? `do not ${text}` : text);
    else if (kind === 'texts') command.option(`${flag} <value>`, `${text}; may be repeated`, collect);
    else command.option(`${flag} <value>`, text, (value: string) => fromText(kind, value));
  }
  return command.action(async ({ config: given, ...flags }: Readonly<Record<string, unknown>>) => {
    const file = given ?? process.env.SRDS_CONFIG;
    const config = parseConfig([
      { name: 'the command line', settings: fromFlags(flags), nameOf: flagOf },
      { name: 'the environment', settings: fromEnvironment(), nameOf: variableOf },
      ...(typeof file === 'string' && file !== '' ? [{ name: file, settings: await fromFile(file) }] : []),
    ]);
    ending.graceMs = (config.drain + 10) * 1000;
    let restart = (): void => undefined;
    const onHangUp = () => restart();
    process.on('SIGHUP', onHangUp);
    const log = createLog(config.logLevel);
    for (const variable of unknownVariables()) log.warn({ variable }, 'no setting has this variable');
    const server = await startServer(config, { log, signal: ending.signal });
    if (process.stderr.isTTY) process.stderr.write(`srds: listening at ${server.url}; Ctrl-C ends it\n`);
    restart = () => server.restart();
    await new Promise<void>((resolve) => {
      if (ending.signal.aborted) resolve();
      else ending.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await server.close();
    process.off('SIGHUP', onHangUp);
    ending.asPlanned = true;
  });
}

/** What is true unless told otherwise has a flag that says it is not. */
function flagOf(name: SettingName): string {
  const flag = SINGULAR[name] ?? name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return `--${isUsual(name) ? 'no-' : ''}${flag}`;
}

function isUsual(name: SettingName): boolean {
  return settingOf(name)?.fallback === true;
}

function variableOf(name: SettingName): string {
  return settingOf(name)?.variable ?? name;
}

function settingOf(name: SettingName) {
  return SETTINGS.find((setting) => setting.name === name);
}

function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}

function fromFlags(flags: Readonly<Record<string, unknown>>): Given {
  const given = SETTINGS.map(({ name }) => [name, flags[camel(SINGULAR[name]) ?? name]] as const);
  // Commander says `true` where a flag that begins with `no` was not given.
  return Object.fromEntries(given.filter(([name, value]) => value !== undefined && !(value === true && isUsual(name))));
}

function camel(flag: string | undefined): string | undefined {
  return flag?.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

function fromEnvironment(): Given {
  const given = SETTINGS.map(({ name, kind, variable }) => {
    const text = process.env[variable];
    return [name, text === undefined || text === '' ? undefined : fromText(kind, text)] as const;
  });
  return Object.fromEntries(given.filter(([, value]) => value !== undefined));
}

function unknownVariables(): string[] {
  const known = new Set(['SRDS_DEBUG', 'SRDS_CONFIG', ...SETTINGS.map(({ variable }) => variable)]);
  return Object.keys(process.env).filter((name) => name.startsWith('SRDS_') && !known.has(name));
}

async function fromFile(file: string): Promise<Given> {
  const fail = (found: string): never => {
    throw new SrdsError('INVALID_OPTION', `settings of a server in ${file}`, found, 'give a JSON object');
  };
  const text = await readFile(file, 'utf8').catch((error: unknown) => fail(messageOf(error)));
  try {
    const content: unknown = JSON.parse(text.replace(/^\uFEFF/, ''));
    return content !== null && typeof content === 'object' && !Array.isArray(content) ? content : fail('no object');
  } catch (error) {
    if (error instanceof SrdsError) throw error;
    return fail(messageOf(error));
  }
}
