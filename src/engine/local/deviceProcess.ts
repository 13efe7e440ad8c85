import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { oneLine, SrdsError } from '../../errors.js';
import { deviceName } from '../device.js';
import { SharedChannel } from './sharedChannel.js';
import { SpinPoller } from './spinPoller.js';
import type { Wake, Notification, Numbered, RunBatch, ProcessSettings, Request, Reply, WireBatch } from './protocol.js';

/** How long an answer is waited for without sleep, on GPUs: what takes longer can bear to be noticed late. */
const SPIN_MS = 50;

interface Pending {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: SrdsError) => void;
}

/** The parent's side of a device process. */
export class DeviceProcess {
  readonly channel = SharedChannel.create();
  private readonly poller: SpinPoller;
  private readonly awake: boolean;
  private readonly child: ChildProcess;
  private readonly device: string;
  private readonly pending = new Map<number, Pending>();
  private questions = 0;
  private notices = 0;
  private readonly ended: Promise<void>;
  private closing = false;
  private failure: SrdsError | undefined;
  private stderrTail = '';

  constructor(settings: Omit<ProcessSettings, 'channel'>) {
    this.device = deviceName(settings.device);
    this.awake = settings.device.kind !== 'cpu';
    const receive = (letter: unknown) => this.receive(letter as Numbered<Reply>);
    this.poller = new SpinPoller(this.channel, receive, () => this.pending.size > 0);
    const whole: ProcessSettings = { ...settings, channel: this.channel.path };
    this.child = fork(fileURLToPath(new URL('./worker.js', import.meta.url)), [JSON.stringify(whole)], {
      serialization: 'advanced',
      execArgv: [],
      // Else ONNX Runtime keeps an identifier of this machine in the user's cache and reports to its makers.
      env: { ...process.env, ORT_DISABLE_TELEMETRY: '1' },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderrTail = (this.stderrTail + text).slice(-500);
    });
    this.child.on('message', (message: Numbered<Reply> | Wake) => {
      if (message.kind !== 'knock') this.receive(message);
      else this.poller.poll();
    });
    this.ended = new Promise((resolve) => {
      const end = (how: string) => {
        if (!this.failure) {
          this.poller.stop();
          this.channel.remove();
          this.channel.close();
        }
        this.fail(how);
        resolve();
      };
      this.child.on('error', (error) => end(`failed (${error.message})`));
      this.child.once('exit', (code, signal) =>
        end(signal ? `was ended by ${signal}` : `ended with exit code ${code}`),
      );
    });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Why it can be asked no more; undefined while it lives. */
  get death(): SrdsError | undefined {
    return this.failure;
  }

  /** Asks, and waits for the reply. @throws SrdsError ENGINE_FAILED if the process ends before it */
  ask(question: Request): Promise<Reply> {
    return this.reply((number) => this.send({ ...question, number }));
  }

  /**
   * Has a batch run, whose tensors are in the channel, and waits for the reply.
   * @param end of the tensors, where the order can go
   * @throws SrdsError ENGINE_FAILED if the process ends before it
   */
  run(batch: WireBatch, end: number): Promise<Reply> {
    return this.reply((number) => {
      const order: Numbered<RunBatch> = { batch, notices: this.notices, number };
      if (this.channel.send(order, end)) this.send({ kind: 'knock' });
      if (this.awake) this.poller.spin(SPIN_MS);
    });
  }

  /** Tells something that has no reply. */
  tell(notice: Notification): void {
    if (this.failure) return;
    this.notices++;
    this.send(notice);
  }

  private reply(ask: (number: number) => void): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.failure) return reject(this.failure);
      const number = this.questions++;
      ask(number);
      this.pending.set(number, { resolve, reject });
    });
  }

  private receive({ number, ...reply }: Numbered<Reply>): void {
    this.pending.get(number)?.resolve(reply);
    this.pending.delete(number);
    if (this.pending.size === 0) this.poller.end();
  }

  private send(message: Numbered<Request> | Notification | Wake): void {
    // A process that has just gone fails the send; its end is reported once, by the `exit` event.
    this.child.send(message, () => undefined);
  }

  /** Ends the process, at once if it is busy: a call of the network cannot be interrupted otherwise. */
  async close(): Promise<void> {
    this.closing = true;
    if (this.pending.size > 0 || !this.child.connected) this.child.kill('SIGKILL');
    else this.child.disconnect();
    await this.ended;
  }

  private fail(how: string): void {
    this.failure ??= new SrdsError(
      'ENGINE_FAILED',
      `the ${this.device} process to run until the end`,
      this.closing ? 'that it was closed' : oneLine(`that process ${this.pid} ${how} ${this.stderrTail}`),
      this.closing
        ? 'do not use a closed engine'
        : 'run again, with a smaller --size, --n or --buckets if memory is short',
    );
    for (const { reject } of this.pending.values()) reject(this.failure);
    this.pending.clear();
  }
}
