import { after } from 'node:test';
import type { RunningServer } from 'srds/server';
import { startTiny } from './server.js';

const servers: RunningServer[] = [];
after(() => Promise.all(servers.map((server) => server.close())));

/** Starts a server with a tiny model; it is closed after the tests of the file. */
export async function serve(settings: Parameters<typeof startTiny>[0] = {}): Promise<RunningServer> {
  const server = await startTiny(settings);
  servers.push(server);
  return server;
}
