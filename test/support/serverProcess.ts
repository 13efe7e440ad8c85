import { spawn, type ChildProcess } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const START_MS = 120_000;

/** Free ports of the loopback address. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.once('listening', resolve))));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** A server in a process group of its own. */
export class ServerProcess {
  private output = '';
  private readonly exited: Promise<void>;

  private constructor(private readonly child: ChildProcess) {
    const keep = (text: string) => (this.output = (this.output + text).slice(-4000));
    child.stdout?.setEncoding('utf8').on('data', keep);
    child.stderr?.setEncoding('utf8').on('data', keep);
    this.exited = new Promise((resolve) => child.once('exit', () => resolve()));
  }

  /** Starts a server. @param ready address that answers with status 200 once it is ready */
  static async start(
    file: string,
    args: readonly string[],
    env: Readonly<Record<string, string | undefined>>,
    ready: string,
  ): Promise<ServerProcess> {
    const started = new ServerProcess(spawn(file, args, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] }));
    const end = performance.now() + START_MS;
    for (;;) {
      const answer = await fetch(ready).catch(() => undefined);
      await answer?.body?.cancel();
      if (answer?.status === 200) return started;
      if (started.hasEnded || performance.now() > end) {
        await started.end('SIGKILL');
        throw new Error(`${file} did not start: ${started.output}`);
      }
      await delay(50);
    }
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Ends the server with a signal, and all its processes once it has ended. */
  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGKILL'): Promise<void> {
    if (!this.hasEnded) this.child.kill(signal);
    await this.exited;
    for (let tries = 0; tries < 50 && this.killGroup(); tries++) await delay(20);
  }

  /** @returns whether a process of the group was left */
  private killGroup(): boolean {
    try {
      process.kill(-(this.child.pid ?? 0), 'SIGKILL');
      return true;
    } catch {
      return false;
    }
  }
}
