/** Seconds without a sign of life after which a process counts as stopped; longer while it starts. */
const SILENT_S = 30;
const STARTING_S = 60;
/** Seconds without a sign of life after which a process should get no new work. */
const DOUBTFUL_S = 5;

/** The number of heartbeats of a process that cannot send any. */
export const NO_HEARTBEAT = -1;

/**
 * Decides whether a device process hangs, from two things: its heartbeats, which a thread of its own sends while a call of the network
 * blocks the process, and the time of its current request. It counts its own ticks, one a second, instead of reading a clock: a parent
 * that was stopped itself, or that was busy, blames nobody.
 */
export class Watchdog {
  private beats = 0;
  private silent = 0;
  private waited = 0;
  private request: number | undefined;

  /** Whether the last sign of life is recent. */
  get isResponsive(): boolean {
    return this.silent < DOUBTFUL_S;
  }

  /**
   * Called once a second.
   * @param beats heartbeats of the process so far; 0 while it starts
   * @param pending the oldest request without a reply, and its limit in seconds
   * @returns how the process hangs; undefined if it does not
   */
  tick(beats: number, pending?: { readonly number: number; readonly limitSeconds: number }): string | undefined {
    this.silent = beats === this.beats && beats !== NO_HEARTBEAT ? this.silent + 1 : 0;
    this.beats = beats;
    this.waited = pending !== undefined && pending.number === this.request ? this.waited + 1 : 0;
    this.request = pending?.number;
    const silence = beats === 0 ? STARTING_S : SILENT_S;
    if (this.silent >= silence) return `gave no sign of life for ${silence} s`;
    if (pending && this.waited >= pending.limitSeconds)
      return `did not reply within ${Math.round(pending.limitSeconds)} s`;
    return undefined;
  }
}
