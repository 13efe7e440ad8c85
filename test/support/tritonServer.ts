import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { virtualEnvironment } from './venv.js';

/** A tritonserver under way. */
export interface TritonServer {
  readonly url: string;
  readonly pid: number;
  /** Ends the server and all that it left. @param signal default SIGTERM */
  readonly stop: (signal?: NodeJS.Signals) => Promise<void>;
}

const START_MS = 300_000;
const EXIT_SECONDS = 2;

/**
 * Starts the real tritonserver, from the package nvidia-pytriton, with its python backend: the package has no other.
 * @param repository a model repository
 * @param flags of tritonserver
 */
export async function startTriton(repository: string, ...flags: string[]): Promise<TritonServer> {
  const venv = await virtualEnvironment('triton-requirements.txt');
  const describe =
    "import sysconfig, sys; print(sysconfig.get_config_var('LIBDIR'), sysconfig.get_paths()['purelib'], '%d.%d' % sys.version_info[:2])";
  const [libraries, site, version] = execFileSync(join(venv, 'bin/python'), ['-c', describe], { encoding: 'utf8' })
    .trim()
    .split(' ');
  const distribution = join(site, 'pytriton/tritonserver');
  const home = mkdtempSync(join(tmpdir(), 'srds-triton-'));
  // The stub for this version of Python goes beside the backend.
  const backends = join(home, 'backends');
  cpSync(join(distribution, 'backends'), backends, { recursive: true });
  const stub = join(backends, 'python/triton_python_backend_stub');
  cpSync(join(distribution, 'python_backend_stubs', version, 'triton_python_backend_stub'), stub);
  chmodSync(stub, 0o755);
  const [http, grpc, metrics] = await freePorts(3);
  const shared = `srds_${process.pid}_${http}_`;
  const ports = { http, grpc, metrics };
  const args = [
    `--model-repository=${repository}`,
    `--backend-directory=${backends}`,
    ...Object.entries(ports).flatMap(([name, port]) => [`--${name}-address=127.0.0.1`, `--${name}-port=${port}`]),
    `--exit-timeout-secs=${EXIT_SECONDS}`,
    `--backend-config=python,shm-region-prefix-name=${shared}`,
    '--backend-config=python,shm-default-byte-size=4194304',
    ...flags,
  ];
  const paths = [libraries, join(site, 'nvidia_pytriton.libs'), process.env.LD_LIBRARY_PATH].filter(Boolean);
  const env = {
    ...process.env,
    LD_LIBRARY_PATH: paths.join(':'),
    PATH: `${join(venv, 'bin')}:${process.env.PATH}`,
    VIRTUAL_ENV: venv,
  };
  // A group of its own, so that the processes of models can be ended with it.
  const child = spawn(join(distribution, 'bin/tritonserver'), args, {
    detached: true,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (log += text));
  const exited = once(child, 'exit');
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  const pid = child.pid ?? 0;

  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (!hasEnded()) child.kill(signal);
    await Promise.race([exited, delay(1000 * (EXIT_SECONDS + 10), undefined, { ref: false })]);
    while (signalGroup(pid, 'SIGKILL')) await delay(20);
    for (const name of readdirSync('/dev/shm'))
      if (name.startsWith(shared)) rmSync(join('/dev/shm', name), { force: true });
    rmSync(home, { recursive: true, force: true });
  };

  const url = `http://127.0.0.1:${http}`;
  const end = performance.now() + START_MS;
  while (!(await isReady(url))) {
    if (hasEnded() || performance.now() > end) {
      await stop('SIGKILL');
      throw new Error(`tritonserver did not start:\n${log.slice(-4000)}`);
    }
    await delay(50);
  }
  return { url, pid, stop };
}

async function isReady(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/v2/health/ready`).catch(() => undefined);
  await answer?.arrayBuffer();
  return answer?.status === 200;
}

/** @returns whether the group exists */
function signalGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
