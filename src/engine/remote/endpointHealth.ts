/** Milliseconds until an endpoint that failed is probed, and the most that they grow to. */
const FIRST_PROBE = 250;
const MAX_PROBE = 10_000;
/** Milliseconds without work after which an endpoint is probed, so that a dead one is known before it is needed. */
const IDLE_PROBE = 10_000;

/** Whether an endpoint takes batches: one that failed is out until a probe succeeds, each time for longer until it has run a batch. */
export class EndpointHealth {
  private outages = 0;
  private out = false;

  /** Whether the endpoint takes batches. */
  get isUp(): boolean {
    return !this.out;
  }

  /** Takes the endpoint out. Requests that fail together are one outage. @returns whether it was up */
  fail(): boolean {
    const wasUp = !this.out;
    this.out = true;
    if (wasUp) this.outages++;
    return wasUp;
  }

  /** A probe of an endpoint that is out has failed. */
  stayOut(): void {
    this.outages++;
  }

  /** Brings it back, after a probe that succeeded. */
  recover(): void {
    this.out = false;
  }

  /** A batch has run. One that began before the endpoint failed does not bring it back. */
  succeed(): void {
    if (!this.out) this.outages = 0;
  }

  /** Milliseconds until the next probe, shortened at random so that clients do not return together. @param random from 0 to 1 */
  probeDelay(random: number): number {
    if (!this.out) return IDLE_PROBE;
    return Math.min(MAX_PROBE, FIRST_PROBE * 2 ** Math.max(0, this.outages - 1)) * (1 - random / 2);
  }
}
