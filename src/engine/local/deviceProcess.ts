import { fork, type ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { oneLine, SrdsError } from '../../errors.js';
import { deviceName } from '../device.js';
import type { Notification, Numbered, ProcessSettings, Reply, Request, RunBatch, Wake, WireBatch } from './protocol.js';
import { loadMemoryMap } from './memoryMap.js';
import { oomKills } from '../freeMemory.js';
import { SharedChannel } from './sharedChannel.js';
import { SpinPoller } from './spinPoller.js';
import { Watchdog } from './watchdog.js';

/** What to do where memory is too small for a batch. */
export const LESS_MEMORY = 'choose a smaller --size, free memory, or use another --device';
/** What to do about a process that died. */
export const RUN_AGAIN = 'run again, with a smaller --size, --n or --buckets if memory is short';

/** How a killed process is left that does not end. */
export const OUTLIVES = 'outlives SIGKILL';

/** Exit code of a process that a shell reports as ended by SIGKILL. */
const KILLED = 137;

/** How long to poll for a reply without sleeping, on GPUs, in milliseconds. A late wake matters little for longer batches. */
const SPIN_MS = 50;
/** Characters of the process's standard error that error messages quote. */
const STDERR_TAIL = 500;
/** How often the watchdog looks. */
const WATCH_MS = 1000;
/** Time that an idle process has to end by itself. */
const END_MS = 2000;
/** Time that a killed process has to end: the system keeps one as long as a driver or a file system does not return. */
const KILL_MS = 5000;

/** Names of variables that hold secrets, such as SRDS_API_KEYS and HF_TOKEN. A device process needs none of them. */
const SECRET = /KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|AUTHORIZATION|_HEADERS/i;

interface Pending {
  readonly limitSeconds: number;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: SrdsError) => void;
}

/** A device process, as the engine sees it. */
export class DeviceProcess {
  private readonly poller: SpinPoller;
  private readonly spins: boolean;
  private readonly child: ChildProcess;
  private readonly device: string;
  private readonly pending = new Map<number, Pending>();
  private requests = 0;
  private notifications = 0;
  private readonly ended: Promise<void>;
  private readonly watching: NodeJS.Timeout;
  private closing = false;
  private error: SrdsError | undefined;
  private stderrTail = '';
  private killed = false;
  private readonly watchdog = new Watchdog();
  /** Why this side ended the process, if it did so during its work. */
  private givenUp: string | undefined;

  constructor(
    settings: Omit<ProcessSettings, 'channel'>,
    readonly channel = SharedChannel.create(),
    countOomKills = oomKills,
  ) {
    const oomKillsBefore = countOomKills();
    this.device = deviceName(settings.device);
    this.spins = settings.device.kind !== 'cpu';
    if (settings.cApi)
      void loadMemoryMap().then((map) => {
        if (map && !this.error) this.channel.mapWith(map);
      });
    const receive = (message: unknown) => this.receive(message as Numbered<Reply>);
    this.poller = new SpinPoller(this.channel, receive, () => this.pending.size > 0);
    const whole: ProcessSettings = { ...settings, channel: this.channel.path };
    this.child = fork(fileURLToPath(new URL('./worker.js', import.meta.url)), [JSON.stringify(whole)], {
      serialization: 'advanced',
      execArgv: [],
      // Keeps ONNX Runtime from storing a machine identifier in the user's cache and from sending telemetry.
      env: { ...withoutSecrets(process.env), ORT_DISABLE_TELEMETRY: '1' },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderrTail = (this.stderrTail + text).slice(-STDERR_TAIL);
    });
    this.child.on('message', (message: Numbered<Reply> | Wake) => {
      if (message.kind === 'wake') this.poller.poll();
      else this.receive(message);
    });
    this.watching = setInterval(() => this.watch(), WATCH_MS).unref();
    this.ended = new Promise((resolve) => {
      this.child.on('error', (error) => {
        this.fail(`failed (${error.message})`);
        resolve();
      });
      this.child.once('exit', (code, signal) => {
        const now = countOomKills();
        const mayBeForMemory = oomKillsBefore === undefined || now === undefined || now > oomKillsBefore;
        this.killed = this.givenUp === undefined && (signal === 'SIGKILL' || code === KILLED) && mayBeForMemory;
        this.fail(this.givenUp ?? (signal ? `was ended by ${signal}` : `ended with exit code ${code}`));
        resolve();
      });
    });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Why the process takes no more requests; undefined while it lives. */
  get failure(): SrdsError | undefined {
    return this.error;
  }

  /**
   * Whether the process may have been killed for want of memory: it ended by SIGKILL, and meanwhile the kernel's count of such kills grew, if it
   * has one.
   */
  get wasKilled(): boolean {
    return this.killed && !this.closing;
  }

  /** Whether the process has given a sign of life lately. */
  get isResponsive(): boolean {
    return this.watchdog.isResponsive;
  }

  /**
   * Sends a request.
   * @param limitSeconds after which the process counts as hung and is ended
   * @throws SrdsError ENGINE_FAILED if the process ends before it replies
   */
  request(request: Request, limitSeconds: number): Promise<Reply> {
    return this.reply(limitSeconds, (number) => this.send({ ...request, number }));
  }

  /**
   * Runs a batch whose tensors are in the channel.
   * @param end position after the tensors, where the message is written
   * @param limitSeconds as in `request`
   * @throws SrdsError ENGINE_FAILED if the process ends before it replies
   */
  run(batch: WireBatch, end: number, limitSeconds: number): Promise<Reply> {
    return this.reply(limitSeconds, (number) => {
      const message: Numbered<RunBatch> = { batch, notifications: this.notifications, number };
      if (this.channel.send(message, end)) this.send({ kind: 'wake' });
      if (this.spins) this.poller.spin(SPIN_MS);
    });
  }

  /** Sends a message without a reply; does nothing once the process has ended. */
  notify(notification: Notification): void {
    if (this.error) return;
    this.notifications++;
    this.send(notification);
  }

  /**
   * Ends the process, forcibly if it is busy or does not end: a call of the network cannot be interrupted.
   * @returns whether it has ended; one that the system keeps is left
   */
  async close(): Promise<boolean> {
    this.closing = true;
    const isBusy = this.pending.size > 0 || !this.child.connected;
    if (!isBusy) this.child.disconnect();
    return (!isBusy && (await this.endsWithin(END_MS))) || this.kill();
  }

  /** Ends a process that cannot go on. @param how to be read after the name of the process */
  async giveUp(how: string): Promise<void> {
    this.givenUp ??= how;
    await this.kill();
  }

  /** @returns whether the process has ended */
  private async kill(): Promise<boolean> {
    this.child.kill('SIGKILL');
    if (await this.endsWithin(KILL_MS)) return true;
    this.fail([...(this.givenUp === undefined ? [] : [this.givenUp]), OUTLIVES].join(' and '));
    // This process must be able to end before it.
    if (this.child.connected) this.child.disconnect();
    this.child.stderr?.destroy();
    this.child.unref();
    return false;
  }

  private async endsWithin(milliseconds: number): Promise<boolean> {
    const timeout = new AbortController();
    const late = delay(milliseconds, false, timeout);
    const hasEnded = await Promise.race([this.ended.then(() => true), late.catch(() => false)]);
    timeout.abort();
    return hasEnded;
  }

  /** Ends a process that hangs. */
  private watch(): void {
    const oldest = [...this.pending].at(0);
    const pending = oldest && { number: oldest[0], limitSeconds: oldest[1].limitSeconds };
    const verdict = this.watchdog.tick(this.channel.heartbeats, pending);
    if (verdict !== undefined) void this.giveUp(verdict);
  }

  private reply(limitSeconds: number, send: (number: number) => void): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.error) return reject(this.error);
      const number = this.requests++;
      send(number);
      this.pending.set(number, { limitSeconds, resolve, reject });
    });
  }

  private receive({ number, ...reply }: Numbered<Reply>): void {
    this.pending.get(number)?.resolve(reply);
    this.pending.delete(number);
    if (this.pending.size === 0) this.poller.endSoon();
  }

  private send(message: Numbered<Request> | Notification | Wake): void {
    // Sending to a process that has just ended fails; the `exit` event reports that once.
    this.child.send(message, () => undefined);
  }

  private fail(how: string): void {
    if (this.error) return;
    clearInterval(this.watching);
    this.poller.stop();
    this.channel.remove();
    this.channel.close();
    this.error = new SrdsError(
      'ENGINE_FAILED',
      `the ${this.device} process to keep running`,
      this.closing ? 'a closed engine' : oneLine(`that process ${this.pid} ${how} ${this.stderrTail}`),
      this.closing ? 'do not use an engine after closing it' : RUN_AGAIN,
    );
    for (const { reject } of this.pending.values()) reject(this.error);
    this.pending.clear();
  }
}

function withoutSecrets(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !SECRET.test(name)));
}
