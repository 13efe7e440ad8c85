import type { SharedChannel } from './sharedChannel.js';

/** How long a turn of the event loop is made to last: shorter ones only make more garbage. */
const TURN_MS = 0.02;
/** How long it goes on when nothing is due. */
const LINGER_MS = 1;

/**
 * Watches a channel. An event loop that sleeps takes some tenths of a millisecond to notice a message, and its processor
 * runs slower for a while; a small batch on a GPU takes a few milliseconds. So it can be kept awake, which costs a processor.
 */
export class SpinPoller {
  private until = 0;
  private going = false;
  private stopped = false;

  /**
   * @param onLetter given what is found
   * @param isDue whether a letter may come; else a turn is left to others
   */
  constructor(
    private readonly channel: SharedChannel,
    private readonly onLetter: (letter: unknown) => void,
    private readonly isDue: () => boolean,
  ) {}

  /** Looks once. @returns whether there was a letter */
  poll(): boolean {
    if (this.stopped) return false;
    const letter = this.channel.take();
    if (letter === undefined) return false;
    this.onLetter(letter);
    return true;
  }

  /** @param milliseconds from now on in which it looks all the time; the longest of all calls holds, or until `end` */
  spin(milliseconds: number): void {
    this.until = Math.max(this.until, performance.now() + milliseconds);
    if (this.going) return;
    this.going = true;
    this.channel.sleeps(false);
    const turn = (): void => {
      if (this.stopped) return;
      const start = performance.now();
      if (start >= this.until) {
        this.going = false;
        this.channel.sleeps(true);
        // The other side may have sent before it could know.
        this.poll();
        return;
      }
      this.poll();
      while (this.isDue() && performance.now() < start + TURN_MS) this.poll();
      setImmediate(turn);
    };
    setImmediate(turn);
  }

  /** Lets the event loop sleep soon: if the next letter is asked for at once, to say so and back takes longer. */
  end(): void {
    this.until = Math.min(this.until, performance.now() + LINGER_MS);
  }

  /** Never looks again: the channel can be closed. */
  stop(): void {
    this.stopped = true;
  }
}
