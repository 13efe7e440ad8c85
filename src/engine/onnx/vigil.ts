/** How long a turn of the event loop is made to last: shorter ones only make more garbage. */
const TURN_MS = 0.02;

/**
 * Keeps an event loop awake. A loop that sleeps takes some tenths of a millisecond to notice a message, and its processor
 * runs slower for a while; a small batch on a GPU takes a few milliseconds. It costs a processor while it lasts.
 */
export class Vigil {
  private until = 0;
  private going = false;

  /** @param milliseconds from now on; the longest of all calls holds */
  keep(milliseconds: number): void {
    this.until = Math.max(this.until, performance.now() + milliseconds);
    if (this.going) return;
    this.going = true;
    const turn = (): void => {
      const start = performance.now();
      if (start >= this.until) return void (this.going = false);
      while (performance.now() < start + TURN_MS);
      setImmediate(turn);
    };
    setImmediate(turn);
  }

  end(): void {
    this.until = 0;
  }
}
