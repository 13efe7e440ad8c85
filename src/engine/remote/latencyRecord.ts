/** Longest first answers that are waited for, in milliseconds: a server may build its engine for a batch size first. */
const FIRST_DEADLINE = 300_000;
const NEW_SIZE_DEADLINE = 60_000;
/** Shortest deadline, in milliseconds: below it, a pause of the machine or of the network would look like a failure. */
const MIN_DEADLINE = 5000;
/** A request that takes this multiple of the slowest one lately is given up. */
const DEADLINE_FACTOR = 10;
/** Share of the latest time in the mean. */
const NEWEST = 0.2;
/** How fast the slowest time is forgotten, for each later one. */
const FORGETTING = 0.98;

interface Times {
  readonly mean: number;
  readonly slowest: number;
}

/** The times of requests by their rows, from which a client derives its own deadlines. */
export class LatencyRecord {
  private readonly times = new Map<number, Times>();

  add(rows: number, milliseconds: number): void {
    const known = this.times.get(rows) ?? { mean: milliseconds, slowest: 0 };
    this.times.set(rows, {
      mean: known.mean + NEWEST * (milliseconds - known.mean),
      slowest: Math.max(milliseconds, FORGETTING * known.slowest),
    });
  }

  /** Milliseconds that a request of so many rows usually takes; undefined before the first. */
  expected(rows: number): number | undefined {
    return this.times.get(rows)?.mean;
  }

  /** Milliseconds after which a request of so many rows is given up. */
  deadline(rows: number): number {
    const known = this.times.get(rows);
    if (known) return Math.max(MIN_DEADLINE, DEADLINE_FACTOR * known.slowest);
    const others = [...this.times].map(([size, { slowest }]) => slowest * Math.max(1, rows / size));
    return others.length === 0 ? FIRST_DEADLINE : Math.max(NEW_SIZE_DEADLINE, DEADLINE_FACTOR * Math.max(...others));
  }
}
