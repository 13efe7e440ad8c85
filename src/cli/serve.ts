import { Command } from 'commander';
import { messageOf } from '../errors.js';
import {
  commandLine,
  readSettingsFile,
  settingsFromEnvironment,
  settingsFromFile,
} from '../pipeline/options/sources.js';
import { parseConfig, SERVER_OPTION_GROUPS, SERVER_OPTIONS } from '../server/config.js';
import { createLog, startServer } from '../server/server.js';
import { startTracing } from '../server/startTracing.js';
import { addFlags, valuesFromFlags } from './optionFlags.js';
import type { Shutdown } from './shutdown.js';
import { unknownVariables } from './unknownVariables.js';

/** `srds serve`. */
export function serveCommand(ending: Shutdown): Command {
  const command = new Command('serve').description('serve the OpenAI images API, and a page, until a signal ends it');
  for (const [group, options] of Object.entries(SERVER_OPTION_GROUPS)) {
    addFlags(command.optionsGroup(group), options, { variables: true });
  }
  command
    .optionsGroup('Other options:')
    .option(
      '--config <file>',
      'JSON file of settings; the command line wins over the environment, and that over the file [SRDS_CONFIG]',
    );
  return command.action(async ({ config: given, ...flags }: Readonly<Record<string, unknown>>) => {
    const file = given ?? process.env.SRDS_CONFIG;
    const config = parseConfig([
      commandLine(SERVER_OPTIONS, valuesFromFlags(SERVER_OPTIONS, flags)),
      settingsFromEnvironment(SERVER_OPTIONS, process.env),
      ...(typeof file === 'string' && file !== ''
        ? [settingsFromFile(SERVER_OPTIONS, await readSettingsFile(file), file, ['compare'])]
        : []),
    ]);
    ending.graceMs = (config.drain + 10) * 1000;
    let restart = (): void => undefined;
    const onHangUp = () => restart();
    process.on('SIGHUP', onHangUp);
    const log = createLog(config.logLevel);
    for (const { name: variable, suggested } of unknownVariables(process.env)) {
      log.warn({ variable }, `no setting has this variable${suggested}`);
    }
    const endTracing = await startTracing(process.env);
    const server = await startServer(config, { log, signal: ending.signal });
    if (process.stderr.isTTY) process.stderr.write(`srds: listening at ${server.url}; Ctrl-C ends it\n`);
    restart = () => void server.restart();
    const ended = new Promise<undefined>((resolve) => {
      if (ending.signal.aborted) resolve(undefined);
      else ending.signal.addEventListener('abort', () => resolve(undefined), { once: true });
    });
    const error = await Promise.race([ended, server.unusable]);
    await server.close();
    process.off('SIGHUP', onHangUp);
    ending.asPlanned = error === undefined;
    await endTracing?.().catch((error: unknown) => {
      log.warn({ error: messageOf(error) }, 'the last traces are lost');
      // Requests to a collector out of reach would keep the process alive.
      process.exit(0);
    });
    if (error) throw error;
  });
}
