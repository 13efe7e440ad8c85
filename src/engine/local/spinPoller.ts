import type { SharedChannel } from './sharedChannel.js';

/** Minimum length of one turn of the event loop, in milliseconds: shorter turns only create more garbage. */
const TURN_MS = 0.02;
/** Polls for each look at the clock, which creates garbage. */
const POLLS = 32;
/** How long polling continues once no message is due, in milliseconds. */
const LINGER_MS = 1;

/** The part of the channel that a poller uses. */
type PolledChannel = Pick<SharedChannel, 'receive' | 'setAsleep'>;

/**
 * Receives the messages of a channel. A sleeping event loop needs some tenths of a millisecond to notice a message, and its
 * processor runs slower for a while, whereas a small batch on a GPU takes a few milliseconds. So a poller can keep the event
 * loop busy, which costs a processor.
 */
export class SpinPoller {
  private until = 0;
  private spinning = false;
  private stopped = false;

  /**
   * @param onMessage called with each message
   * @param isDue whether a message may arrive; if not, each turn of the event loop polls only once
   */
  constructor(
    private readonly channel: PolledChannel,
    private readonly onMessage: (message: unknown) => void,
    private readonly isDue: () => boolean,
  ) {}

  /** Polls once. @returns whether there was a message */
  poll(): boolean {
    if (this.stopped) return false;
    const message = this.channel.receive();
    if (message === undefined) return false;
    this.onMessage(message);
    return true;
  }

  /** Polls continuously for `milliseconds`, or until `endSoon`. The longest of several calls counts. */
  spin(milliseconds: number): void {
    this.until = Math.max(this.until, performance.now() + milliseconds);
    if (this.spinning) return;
    this.spinning = true;
    this.channel.setAsleep(false);
    const turn = (): void => {
      if (this.stopped) return;
      const start = performance.now();
      if (start >= this.until) {
        this.spinning = false;
        this.channel.setAsleep(true);
        // The other side may have sent a message before it could see that this one sleeps.
        this.poll();
        return;
      }
      this.poll();
      while (this.isDue() && performance.now() < start + TURN_MS) this.pollWhileDue();
      setImmediate(turn);
    };
    setImmediate(turn);
  }

  private pollWhileDue(): void {
    for (let k = 0; k < POLLS && this.isDue(); k++) this.poll();
  }

  /** Lets the event loop sleep soon, but not at once: the next request often follows immediately. */
  endSoon(): void {
    this.until = Math.min(this.until, performance.now() + LINGER_MS);
  }

  /** Stops polling for good, so that the channel can be closed. */
  stop(): void {
    this.stopped = true;
  }
}
