import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

/** `srds serve` in a process of its own. */
export interface ServerProcess {
  readonly url: string;
  readonly pid: number;
  /** Drains it and waits for its end. */
  stop(): Promise<void>;
}

/** Starts `srds serve` on a free port, and waits until it is ready. */
export async function startServer(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<ServerProcess> {
  const child = spawn(process.execPath, ['dist/cli/main.js', 'serve', '--port', '0', ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const url = await addressOf(child);
  const stop = async () => {
    child.kill('SIGTERM');
    await new Promise((resolve) => child.once('close', resolve));
  };
  return { url, pid: child.pid ?? 0, stop };
}

function addressOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let log = '';
    child.once('exit', () => reject(new Error(`srds serve ended:\n${log}`)));
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-4096);
      const found = /"url":"([^"]+)"[^]*"msg":"ready"/.exec(log)?.[1];
      if (found !== undefined) resolve(found);
    });
  });
}

/** What clients have seen. */
export interface Load {
  readonly statuses: ReadonlyMap<number, number>;
  /** Milliseconds of each request that succeeded, ascending. */
  readonly latencies: readonly number[];
  readonly failures: readonly string[];
}

/**
 * Sends requests for images until a time, from clients that each wait for their answers and that a full queue turns away.
 * @param urls of servers; a client takes them in turn, as a balancer does
 * @param requests bodies, in turn
 * @param end by `performance.now()`
 */
export async function load(
  urls: readonly string[],
  clients: number,
  requests: readonly object[],
  end: number,
): Promise<Load> {
  const statuses = new Map<number, number>();
  const latencies: number[] = [];
  const failures: string[] = [];
  const client = async (number: number): Promise<void> => {
    for (let k = number; performance.now() < end; k++) {
      const start = performance.now();
      const response = await fetch(`${urls[k % urls.length]}/v1/images/generations`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ prompt: `client ${number}`, ...requests[k % requests.length] }),
      });
      const text = await response.text();
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
      if (response.status === 429) await delay(1000 * Math.min(2, Number(response.headers.get('retry-after'))));
      else if (!response.ok || text.includes('event: error')) failures.push(text.slice(0, 200));
      else latencies.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, k) => client(k)));
  return { statuses, latencies: latencies.sort((a, b) => a - b), failures };
}

/** A load in words. @param seconds that it lasted */
export function describeLoad({ statuses, latencies, failures }: Load, seconds: number): string {
  const percentile = (share: number) => `${latencies[Math.floor(share * latencies.length)]?.toFixed(0)} ms`;
  return [
    `${latencies.length} images, ${(latencies.length / seconds).toFixed(1)} a second`,
    `answers by status: ${JSON.stringify(Object.fromEntries(statuses))}, failures: ${failures.length} ${failures.slice(0, 3).join(' ')}`,
    `latency: 50 % ${percentile(0.5)}, 90 % ${percentile(0.9)}, 99 % ${percentile(0.99)}, most ${percentile(0.9999)}`,
  ].join('\n');
}
